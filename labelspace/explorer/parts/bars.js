// The entries of a vector as a table: the sample, its reconstruction and the edit, as numbers and on a scale.
export default {
  template: `
    <div class="bars" role="region" tabindex="0" aria-label="Values of the sample, its reconstruction and the edit">
      <table>
        <thead><tr><th scope="col">Feature</th><th scope="col">Original</th><th scope="col" class="less">Reconstruction</th>
          <th scope="col">Edit</th><th scope="col" class="scale">
          <span class="key original">original</span><span class="key reconstruction">reconstruction</span>
          <span class="key edit">edit</span></th></tr></thead>
        <tbody><tr v-for="row in shown" :key="row.name">
          <th scope="row"><template v-for="part in row.name.split(/(?<=_)/)">{{ part }}<wbr /></template></th>
          <td class="own">
            <select v-if="writing === row.name && classes[row.name]" :aria-label="row.name" @change="write(row, $event.target.value)"
              @blur="writing = null" @keydown.esc="writing = null" ref="field">
              <option value="">missing</option>
              <option v-for="name in classes[row.name]" :value="name" :selected="name === text(row, row.original)">{{ name }}</option>
            </select>
            <input v-else-if="writing === row.name" :aria-label="row.name" :value="row.original === null ? '' : text(row, row.original)"
              inputmode="decimal" @change="write(row, $event.target.value)" @blur="writing = null" @keydown.esc="writing = null"
              @keydown.enter="$event.target.blur()" ref="field" />
            <button v-else type="button" class="cell" :aria-label="row.name + ' ' + text(row, row.original) + ', change'"
              title="Change this cell" @click="open(row)">{{ text(row, row.original) }}</button>
          </td>
          <td class="less">{{ text(row, row.reconstruction) }}</td>
          <td class="edited" :data-feature="row.name">{{ text(row, row.edit) }}</td>
          <td class="scale" aria-hidden="true"><svg viewBox="0 0 240 18">
            <line class="rail" x1="4" x2="236" y1="9" y2="9" />
            <line v-if="row.reconstruction !== null && row.edit !== null" class="change" y1="9" y2="9"
              :x1="x(row, row.reconstruction)" :x2="x(row, row.edit)" />
            <line v-if="row.reconstruction !== null" class="reconstruction" :x1="x(row, row.reconstruction)"
              :x2="x(row, row.reconstruction)" y1="3" y2="15" />
            <circle v-if="row.original !== null" class="original" :cx="x(row, row.original)" cy="9" r="4.5" />
            <circle v-if="row.edit !== null" class="edit" :cx="x(row, row.edit)" cy="9" r="4.5" />
          </svg></td></tr></tbody>
      </table>
    </div>`,
  props: { rows: Array, ranges: Object, classes: Object },
  emits: ["cell"],
  data() {
    return { shown: this.rows, writing: null };
  },
  created() {
    this.newest = 0;
  },
  methods: {
    async open(row) {
      this.writing = row.name;
      await this.$nextTick();
      const field = [this.$refs.field].flat()[0];
      field?.focus();
      field?.select?.();
    },
    write(row, text) {
      this.writing = null;
      this.$emit("cell", { name: row.name, text });
    },
    text(row, value) {
      if (value === null) return "missing";
      const names = this.classes[row.name];
      if (names) return names[value];
      // Four digits, and more where all are far from zero.
      const [low, high] = this.ranges[row.name];
      const far = Math.max(Math.abs(low), Math.abs(high)) / Math.max(high - low, 1e-12);
      return String(Number(value.toPrecision(far < 10 ? 4 : Math.min(15, 4 + Math.ceil(Math.log10(far))))));
    },
    x(row, value) {
      const [low, high] = this.ranges[row.name];
      return 4 + 232 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
    },
    async show(rows, number) {
      if (number && number < this.newest) return;
      this.newest = number || this.newest;
      this.shown = rows;
      await this.$nextTick();
      if (number) window.dispatchEvent(new CustomEvent("labelspace:shown", { detail: number }));
    },
  },
};
