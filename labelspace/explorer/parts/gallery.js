// Samples to choose from: a list box whose options are pictures or lines of text; arrow keys go through it.
export default {
  template: `
    <div class="gallery" :class="{lines: !pictures}" :role="items.length ? 'listbox' : null" :aria-label="items.length ? label : null" ref="box" @keydown="press">
      <button v-for="(item, i) in items" :key="item.id" type="button" role="option" class="item" ref="options"
        :aria-selected="item.id === selected" :class="{selected: item.id === selected, second: item.id === second}"
        :tabindex="i === reachable ? 0 : -1" :title="item.name + (item.text ? ': ' + item.text : '')"
        :aria-label="item.name + (item.text ? ': ' + item.text : '')" :data-id="item.id" @click="choose(item)">
        <img v-if="pictures" :src="item.src" alt="" loading="lazy" draggable="false" />
        <template v-else><b>{{ item.name }}</b> {{ item.text }}</template>
      </button>
      <p v-if="!items.length" class="nothing">{{ empty }}</p>
    </div>`,
  props: { items: Array, selected: [Number, String], second: [Number, String], pictures: Boolean, label: String, empty: String },
  emits: ["choose"],
  computed: {
    reachable() {
      return Math.max(0, this.items.findIndex((item) => item.id === this.selected));
    },
  },
  methods: {
    choose(item) {
      this.$emit("choose", item.id);
    },
    press(event) {
      const options = this.$refs.options || [];
      const now = options.indexOf(document.activeElement);
      if (now < 0) return;
      const columns = options.filter((option) => option.offsetTop === options[0].offsetTop).length;
      const way = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -now, End: options.length - 1 - now };
      if (!(event.key in way)) return;
      event.preventDefault();
      options[Math.min(options.length - 1, Math.max(0, now + way[event.key]))].focus();
    },
  },
};
