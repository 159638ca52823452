// Rows of labels, each with what the model reads of it in the edit; and how the edit's codes lie beside training codes. New ones
// come by `show`, beside the picture that they are for.
export default {
  template: `
    <div class="readings">
      <div class="rows"><slot></slot></div>
      <p class="codes" :class="{far: state.far}" v-if="state.codes">{{ state.codes }}</p>
    </div>`,
  props: { first: Object },
  data() {
    return { state: this.first };
  },
  provide() {
    return { readings: this.state };
  },
  created() {
    this.newest = 0;
  },
  methods: {
    show(state, number) {
      if (number && number < this.newest) return;
      this.newest = number || this.newest;
      Object.assign(this.state, state);
    },
  },
};
