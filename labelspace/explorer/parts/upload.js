// A button that takes a file of the user's and sends it, as it is, to an address of this server.
export default {
  template: `
    <label class="upload" :class="{busy}">
      <input type="file" :accept="accept" :aria-label="label" :disabled="busy" @change="send" ref="input" />
      <span aria-hidden="true">{{ busy ? "Reading ..." : label }}</span>
    </label>`,
  props: { to: String, accept: String, label: String, most: Number },
  emits: ["refused"],
  data() {
    return { busy: false };
  },
  methods: {
    async send(event) {
      const file = event.target.files[0];
      if (!file) return;
      this.busy = true;
      try {
        if (file.size > this.most) throw new Error(`the file has ${(file.size / 1e6).toFixed(1)} MB; up to ${this.most / 1e6} MB can be uploaded`);
        const headers = { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" };
        const answer = await fetch((window.path_prefix || "") + this.to, { method: "POST", body: file, headers });
        if (!answer.ok) throw new Error(`the file was not taken: ${await answer.text()}`);
      } catch (error) {
        this.$emit("refused", String(error.message));
      } finally {
        this.busy = false;
        if (this.$refs.input) this.$refs.input.value = ""; // the same file may be chosen again
      }
    },
  },
};
