// A number as a slider over the data's range with their histogram, and as a field beside it that takes any number.
//
// While the slider moves, values go to the server one at a time: the next one is sent when the picture of the one before is on
// the screen, and it is the newest there is.
const PATIENCE = 1500; // milliseconds after which an unanswered value is given up

export default {
  template: `
    <div class="slide">
      <div class="track">
        <svg viewBox="0 0 100 22" preserveAspectRatio="none" aria-hidden="true">
          <rect v-for="(count, i) in counts" :x="(100 * i) / counts.length" :width="90 / counts.length" :y="22 - tall(count)"
            :height="tall(count)" />
        </svg>
        <input type="range" :min="low" :max="high" step="any" :value="inside" :aria-label="label" :aria-valuetext="spoken"
          @input="go" @change="choose($event.target.valueAsNumber)" />
      </div>
      <input type="number" class="exact" step="any" :value="spoken" :aria-label="label + ' as a number'" :placeholder="placeholder"
        @change="choose($event.target.value === '' ? null : $event.target.valueAsNumber)" />
      <span class="outside" role="status" v-if="outside">outside of the data ({{ short(low) }} to {{ short(high) }})</span>
    </div>`,
  props: { low: Number, high: Number, counts: Array, value: Number, label: String, placeholder: String },
  emits: ["set"],
  data() {
    return { at: this.value };
  },
  watch: {
    value(now) {
      this.at = now;
    },
  },
  created() {
    this.underWay = 0;
    this.waiting = null;
  },
  mounted() {
    this.shown = (event) => this.arrived(event.detail);
    window.addEventListener("labelspace:shown", this.shown);
  },
  unmounted() {
    window.removeEventListener("labelspace:shown", this.shown);
  },
  computed: {
    known() {
      return this.at !== null && this.at !== undefined;
    },
    inside() {
      return this.known ? Math.min(this.high, Math.max(this.low, this.at)) : (this.low + this.high) / 2;
    },
    spoken() {
      return this.known ? this.short(this.at) : "";
    },
    outside() {
      const slack = 1e-6 * (this.high - this.low);
      return this.known && (this.at < this.low - slack || this.at > this.high + slack);
    },
  },
  methods: {
    tall(count) {
      return count ? 2 + (20 * count) / Math.max(...this.counts) : 0;
    },
    short(value) {
      return String(Number(value.toPrecision(Math.max(5, String(Math.trunc(value)).length))));
    },
    number() {
      window.labelspaceNumber = (window.labelspaceNumber || 0) + 1;
      return window.labelspaceNumber;
    },
    go(event) {
      this.at = this.waiting = event.target.valueAsNumber;
      this.send();
    },
    send() {
      if (this.waiting === null || this.underWay) return;
      const number = (this.underWay = this.number());
      this.$emit("set", { value: this.waiting, final: false, number });
      this.waiting = null;
      setTimeout(() => this.arrived(number), PATIENCE);
    },
    arrived(number) {
      if (number < this.underWay) return;
      this.underWay = 0;
      this.send();
    },
    choose(value) {
      this.waiting = null;
      this.at = value;
      this.$emit("set", { value, final: true, number: this.number() });
    },
  },
};
