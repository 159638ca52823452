// A block of the latent space as a plane or a line, with the sample as a handle that is dragged or moved with the keyboard.
//
// The handle moves at once. Positions go to the server one at a time (two are under way at most): the next one is sent when
// the picture of an earlier one is on the screen, and it is the newest there is, so that nothing ever queues.
const WIDTH = 360;
const PLANE = 252;
const LINE = 84;
const MARGIN = 16;
const UNDER_WAY = 2;
const PATIENCE = 1500; // milliseconds after which an unanswered position is given up
const KEY_PAUSE = 350; // milliseconds without a key after which the position counts as chosen

export default {
  template: `
    <svg class="map" :class="{dragging, still: chart.fixed}" :viewBox="'0 0 ' + width + ' ' + height" ref="svg"
      :aria-label="label" v-bind="role"
      :data-point="at.join(',')" @pointerdown="grab" @pointermove="drag" @pointerup="drop" @pointercancel="drop"
      @keydown="press" @blur="settle">
      <line v-if="flat" class="rail" :x1="px(chart.low)[0]" :x2="px(chart.high)[0]" :y1="middle" :y2="middle" />
      <image v-if="chart.density" :href="chart.density" preserveAspectRatio="none" v-bind="area" />
      <path v-for="(d, i) in dots" class="dots" :d="d" :stroke="chart.colours[i]" />
      <template v-for="spot in chart.spots">
        <template v-if="!flat">
          <ellipse v-for="k in [2, 1]" class="prior" :cx="px(spot.mean)[0]" :cy="px(spot.mean)[1]"
            :rx="Math.max(4, k * spot.radii[0] * scale)" :ry="Math.max(4, k * spot.radii[1] * scale)"
            :transform="'rotate(' + -spot.angle + ' ' + px(spot.mean)[0] + ' ' + px(spot.mean)[1] + ')'"
            :stroke="spot.colour" :fill="spot.colour" />
        </template>
        <template v-else>
          <rect v-for="k in [2, 1]" class="prior" :x="px(spot.mean)[0] - Math.max(2, k * spot.radii[0] * scale)"
            :width="2 * Math.max(2, k * spot.radii[0] * scale)" :y="middle - 13" height="26" rx="4"
            :stroke="spot.colour" :fill="spot.colour" />
        </template>
        <text class="name" :x="px(spot.mean)[0]" :y="flat ? middle - 20 : nameHeight(spot)" :style="{'--own': spot.colour}">{{ spot.name }}</text>
      </template>
      <template v-for="tick in chart.ticks">
        <circle class="tick" :cx="px([tick.at])[0]" :cy="middle" r="3.5" />
        <text class="name plain" :x="px([tick.at])[0]" :y="middle - 20">{{ tick.name }}</text>
      </template>
      <template v-for="mark in chart.marks">
        <line class="mark" :x1="px([mark.at])[0]" :x2="px([mark.at])[0]" :y1="middle - 7" :y2="middle + 7" />
        <text class="name plain" :x="px([mark.at])[0]" :y="middle - 20">{{ mark.name }}</text>
      </template>
      <text v-if="flat" class="axis" :x="width / 2" :y="height - 6">{{ chart.axes[0] }}</text>
      <text v-if="!flat" class="axis" :x="width / 2" :y="height - 5">{{ chart.axes[0] }}</text>
      <text v-if="!flat" class="axis" :transform="'translate(11 ' + height / 2 + ') rotate(-90)'">{{ chart.axes[1] }}</text>
      <line class="way" v-if="moved" :x1="px(home)[0]" :y1="px(home)[1]" :x2="px(at)[0]" :y2="px(at)[1]" />
      <circle class="home" :cx="px(home)[0]" :cy="px(home)[1]" r="6" />
      <g class="handle" :transform="'translate(' + px(at).join(' ') + ')'">
        <circle class="halo" r="17" /><circle class="knob" r="9" /><circle class="pin" r="2.5" />
      </g>
    </svg>`,
  props: { chart: Object, point: Array, home: Array, label: String },
  emits: ["move"],
  data() {
    return { at: [...this.point], dragging: false };
  },
  created() {
    // Not reactive: the bookkeeping of what was sent.
    this.underWay = new Map(); // number -> moments of the input that it stands for
    this.waiting = null;
    this.timer = null;
    this.moments = [];
  },
  mounted() {
    this.shown = (event) => this.arrived(event.detail);
    window.addEventListener("labelspace:shown", this.shown);
  },
  unmounted() {
    window.removeEventListener("labelspace:shown", this.shown);
    clearTimeout(this.timer);
  },
  watch: {
    point(now) {
      if (!this.dragging && !this.timer) this.at = [...now];
    },
    chart(now, before) {
      if (now.block === before.block && now.fixed === before.fixed && (this.dragging || this.timer)) return;
      // What was not sent yet are points of another map.
      clearTimeout(this.timer);
      this.timer = this.waiting = null;
      this.dragging = false;
      this.at = [...this.point];
    },
  },
  computed: {
    flat() {
      return this.chart.low.length === 1;
    },
    width() {
      return WIDTH;
    },
    height() {
      return this.flat ? LINE : PLANE;
    },
    middle() {
      return LINE / 2;
    },
    // One scale for both axes: a distance is a distance.
    scale() {
      const room = [WIDTH - 2 * MARGIN - 8, PLANE - 2 * MARGIN - 8];
      return Math.min(...this.chart.low.map((low, i) => room[i] / (this.chart.high[i] - low)));
    },
    // Of the chart's ends, on the screen.
    area() {
      const [x, top] = this.px([this.chart.low[0], this.chart.high[1] || 0]);
      const [right, bottom] = this.px([this.chart.high[0], this.chart.low[1] || 0]);
      return this.flat ? { x, y: LINE / 2 - 12, width: right - x, height: 24 } : { x, y: top, width: right - x, height: bottom - top };
    },
    dots() {
      return this.chart.cloud.map((points, kind) =>
        points
          .map((point, i) => {
            const [x, y] = this.px(point);
            const spread = this.flat ? (((i * 7 + kind * 3) % 17) - 8) * 1.1 : 0; // so that dots of a line do not hide each other
            return `M${x.toFixed(1)} ${(y + spread).toFixed(1)}h0`;
          })
          .join(""),
      );
    },
    moved() {
      return this.at.some((value, i) => Math.abs(value - this.home[i]) > 1.5 * 10 ** -this.chart.digits);
    },
    // Where nothing is dragged it is a picture.
    role() {
      if (this.chart.fixed) return { role: "img" };
      return {
        role: "slider",
        tabindex: 0,
        "aria-roledescription": this.flat ? "slider" : "two-dimensional slider",
        "aria-valuemin": this.chart.low[0],
        "aria-valuemax": this.chart.high[0],
        "aria-valuenow": this.at[0],
        "aria-valuetext": this.spoken,
      };
    },
    spoken() {
      const named = this.chart.ticks.find((tick) => Math.abs(tick.at - this.at[0]) < 1e-6);
      if (named) return named.name;
      return this.at.map((value, i) => `${this.chart.axes[i]} ${value.toFixed(Math.max(0, this.chart.digits - 2))}`).join(", ");
    },
  },
  methods: {
    px(point) {
      const centre = this.chart.low.map((low, i) => (low + this.chart.high[i]) / 2);
      const x = WIDTH / 2 + 4 + (point[0] - centre[0]) * this.scale;
      return [x, this.flat ? LINE / 2 : PLANE / 2 - 6 - (point[1] - centre[1]) * this.scale];
    },
    nameHeight(spot) {
      const reach = Math.max(6, 2 * Math.max(...spot.radii) * this.scale);
      return Math.max(14, this.px(spot.mean)[1] - reach - 5);
    },
    pointUnder(event) {
      const box = this.$refs.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * WIDTH;
      const y = ((event.clientY - box.top) / box.height) * this.height;
      const centre = this.chart.low.map((low, i) => (low + this.chart.high[i]) / 2);
      const found = [centre[0] + (x - WIDTH / 2 - 4) / this.scale];
      if (!this.flat) found.push(centre[1] - (y - PLANE / 2 + 6) / this.scale);
      return this.within(found);
    },
    within(point) {
      // A line along values snaps to a value that is near.
      const near = this.chart.ticks.find((tick) => Math.abs(tick.at - point[0]) * this.scale < 7);
      if (near) return [near.at];
      const inside = (value, i) => Math.min(this.chart.high[i], Math.max(this.chart.low[i], value));
      return point.map((value, i) => Number(inside(value, i).toFixed(this.chart.digits)));
    },
    grab(event) {
      if (event.button !== 0 || this.chart.fixed) return;
      this.$refs.svg.setPointerCapture(event.pointerId);
      this.dragging = true;
      this.go(this.pointUnder(event), event.timeStamp);
    },
    drag(event) {
      if (this.dragging) this.go(this.pointUnder(event), event.timeStamp);
    },
    drop() {
      if (!this.dragging) return;
      this.dragging = false;
      this.choose();
    },
    press(event) {
      if (this.chart.fixed) return;
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      let next = null;
      if (event.key in ways && !event.altKey && !event.ctrlKey && !event.metaKey) {
        let way = ways[event.key];
        if (this.flat) way = [way[0] + way[1]];
        const stride = event.shiftKey ? 10 : 50;
        next = this.at.map((value, i) => value + (way[i] * (this.chart.high[0] - this.chart.low[0])) / stride);
        if (this.chart.ticks.length && !event.shiftKey) next = [Math.round(this.at[0] + way[0])]; // from value to value
      } else if (event.key === "Home") {
        next = [...this.home];
      }
      if (!next) return;
      event.preventDefault();
      this.go(this.within(next), event.timeStamp);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.settle(), KEY_PAUSE);
    },
    settle() {
      if (!this.timer) return;
      clearTimeout(this.timer);
      this.timer = null;
      this.choose();
    },
    go(point, moment) {
      this.at = point;
      this.moments.push(moment);
      this.waiting = point;
      this.send();
    },
    send() {
      if (!this.waiting || this.underWay.size >= UNDER_WAY) return;
      const number = this.number();
      this.underWay.set(number, this.moments);
      this.moments = [];
      this.$emit("move", { block: this.chart.block, point: this.waiting, final: false, number });
      this.waiting = null;
      setTimeout(() => this.arrived(number, true), PATIENCE);
    },
    arrived(number, givenUp = false) {
      for (const [sent, moments] of this.underWay) {
        if (sent > number) continue;
        this.underWay.delete(sent);
        if (givenUp) continue;
        for (const start of moments) performance.measure("labelspace:drag", { start, end: performance.now() });
      }
      this.send();
    },
    choose() {
      const number = this.number();
      this.underWay.set(number, this.moments);
      this.moments = [];
      this.waiting = null;
      this.$emit("move", { block: this.chart.block, point: this.at, final: true, number });
      setTimeout(() => this.arrived(number, true), PATIENCE);
    },
    number() {
      window.labelspaceNumber = (window.labelspaceNumber || 0) + 1;
      return window.labelspaceNumber;
    },
  },
};
