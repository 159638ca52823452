// Pictures that are compared. New ones come by `show`, outside of the page's own updates, so that dragging is quick; an
// event says when they are on the screen. Enlarged, the edit lies over what was before, and a slider wipes it away.
export default {
  template: `
    <div class="pictures">
      <figure v-for="item in items" :key="item.key" :class="['picture', item.key]">
        <div class="frame"><img :ref="item.key" :src="sources[item.key]" :alt="item.alt" :data-key="item.key" draggable="false" /></div>
        <figcaption>{{ item.title }}</figcaption>
      </figure>
      <button type="button" class="enlarge" @click="$refs.large.showModal()">Enlarge: before and after</button>
      <dialog class="large" ref="large" aria-label="Before and after" @click.self="$refs.large.close()">
        <div class="window" tabindex="0" role="region" aria-label="Before and after, enlarged"><div class="stage" :class="{crisp: zoom > 1 && !large}" :style="{'--zoom': zoom}">
          <img :src="large ? sources.largeBefore : sources[before]" alt="Before" draggable="false" />
          <img class="after" :src="large ? sources.largeAfter : sources.edit" alt="After" draggable="false"
            :style="{clipPath: 'inset(0 0 0 ' + at + '%)'}" />
          <i :style="{left: at + '%'}" aria-hidden="true"></i>
        </div></div>
        <input type="range" min="0" max="100" v-model.number="at" aria-label="How much is as before, in percent" />
        <div class="choices">
          <template v-if="!large">
            <label><input type="radio" value="original" v-model="before" /> original</label>
            <label><input type="radio" value="reconstruction" v-model="before" /> reconstruction</label>
          </template>
          <label v-if="sources.largeAfter"><input type="checkbox" v-model="own" /> at its own size</label>
          <label>Zoom <input type="range" min="1" max="8" step="0.5" v-model.number="zoom" aria-label="Zoom" /></label>
          <button type="button" class="go-on" @click="$refs.large.close()">Close</button>
        </div>
      </dialog>
    </div>`,
  props: { items: Array },
  data() {
    return { sources: Object.fromEntries(this.items.map((item) => [item.key, item.src])), at: 50, before: "original", zoom: 1, own: true };
  },
  created() {
    this.newest = 0;
  },
  computed: {
    // Whether the picture has more pixels than the model, and is shown with them.
    large() {
      return this.own && Boolean(this.sources.largeAfter);
    },
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
