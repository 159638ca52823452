// Several samples that follow the edit: pictures before and after, or rows. New ones come by `show`, as pictures do.
export default {
  template: `
    <div class="contact">
      <p class="codes far" v-if="state.why">{{ state.why }}</p>
      <div class="contacts" v-else-if="pictures">
        <figure v-for="(item, i) in items" :key="item.name">
          <img :src="item.src" :alt="item.name" draggable="false" />
          <img v-if="state.cells[i]" class="after" :src="state.cells[i].src" :alt="item.name + ', edited'" draggable="false" />
          <figcaption>{{ item.name }}</figcaption>
        </figure>
      </div>
      <div class="bars" v-else role="region" tabindex="0" aria-label="Edited samples">
        <table><thead><tr><th scope="col">Sample</th><th v-for="name in state.names" scope="col">{{ name }}</th></tr></thead>
          <tbody><tr v-for="(item, i) in items" :key="item.name"><th scope="row">{{ item.name }}</th>
            <td v-for="text in state.cells[i] && state.cells[i].texts">{{ text }}</td></tr></tbody></table>
      </div>
    </div>`,
  props: { items: Array, first: Object, pictures: Boolean },
  data() {
    return { state: this.first };
  },
  created() {
    this.newest = 0;
  },
  watch: {
    first(now) {
      this.state = now;
    },
  },
  methods: {
    show(state, number) {
      if (number && number < this.newest) return;
      this.newest = number || this.newest;
      this.state = state;
    },
  },
};
