// Pictures that are compared. New ones come by `show`, outside of the page's own updates, so that dragging is quick; an
// event says when they are on the screen.
export default {
  template: `
    <div class="pictures">
      <figure v-for="item in items" :key="item.key" :class="['picture', item.key]">
        <div class="frame"><img :ref="item.key" :src="sources[item.key]" :alt="item.alt" :data-key="item.key" draggable="false" /></div>
        <figcaption>{{ item.title }}</figcaption>
      </figure>
    </div>`,
  props: { items: Array },
  data() {
    return { sources: Object.fromEntries(this.items.map((item) => [item.key, item.src])) };
  },
  created() {
    this.newest = 0;
  },
  methods: {
    async show(sources, number) {
      if (number && number < this.newest) return; // a later picture is there already
      this.newest = number || this.newest;
      const images = [];
      for (const [key, source] of Object.entries(sources)) {
        this.sources[key] = source;
        const image = this.$refs[key]?.[0];
        if (!image) continue;
        image.src = source; // at once, not with the next update of the page
        images.push(image.decode().catch(() => {})); // overtaken by another one
      }
      await Promise.all(images);
      if (number) window.dispatchEvent(new CustomEvent("labelspace:shown", { detail: number }));
    },
  },
};
