// What the model reads of one label in the edit.
export default {
  template: `
    <span class="reads" v-if="read" :class="{aside: read.changed && !read.asked}" :title="about">{{ words }} {{ read.text }}</span>`,
  props: { label: String, about: String },
  inject: ["readings"],
  computed: {
    read() {
      return this.readings.labels[this.label];
    },
    words() {
      return this.read.changed && !this.read.asked ? "side effect: reads" : "reads";
    },
  },
};
