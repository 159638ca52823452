// A saved page: the explorer's own parts, with the model in the browser in the place of a server.
//
// What the page holds beside this script: `about` (the model's blocks, labels and maps, and some samples), and blobs, compressed
// by gzip: the networks as ONNX, onnxruntime-web, Vue, and the samples.
const page = JSON.parse(document.getElementById("about").textContent);

// -- what is stored in the page ---------------------------------------------------------------------------------------

const PLACE = new Uint8Array(128);
page.alphabet.split("").forEach((letter, i) => (PLACE[letter.charCodeAt(0)] = i));

// Two letters hold 13 bits.
function stored(name) {
  const element = document.getElementById(`blob:${name}`);
  const text = element.textContent;
  const out = new Uint8Array(Number(element.dataset.size));
  let held = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; at < out.length; i += 2) {
    held = (held << 13) | (PLACE[text.charCodeAt(i)] * page.alphabet.length + PLACE[text.charCodeAt(i + 1)]);
    for (bits += 13; bits >= 8 && at < out.length; held &= (1 << bits) - 1) out[at++] = held >> (bits -= 8);
  }
  element.remove();
  return new Response(new Blob([out]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function module(name) {
  const address = URL.createObjectURL(new Blob([await stored(name).text()], { type: "text/javascript" }));
  return import(address);
}

// -- the model --------------------------------------------------------------------------------------------------------

const ort = await module("onnxruntime");
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = await stored("program").arrayBuffer();
const networks = {};
for (const name of page.networks) {
  networks[name] = await ort.InferenceSession.create(new Uint8Array(await stored(name).arrayBuffer()), { executionProviders: ["wasm"] });
}
const [kind, samples] = [page.samples.kind, await stored("samples").arrayBuffer()];
const entries = page.shape.reduce((all, one) => all * one, 1);

function sample(i) {
  if (kind === "float32") return new Float32Array(samples, 4 * i * entries, entries).slice();
  return Float32Array.from(new Uint8Array(samples, i * entries, entries), (value) => value / 255);
}

// One sample through a network: name of an input -> its numbers.
async function through(name, given) {
  const feeds = {};
  for (const input of networks[name].inputNames) {
    const shape = input === "x" || input === "before" || input === "after" ? page.shape : [given[input].length];
    feeds[input] = new ort.Tensor(input === "observed" ? "bool" : "float32", given[input], [1, ...shape]);
  }
  const found = await networks[name].run(feeds);
  return Object.fromEntries(Object.entries(found).map(([output, tensor]) => [output, tensor.data.slice()]));
}

async function encode(x, values, observed) {
  const found = await through("encoder", { x, values, observed });
  return Object.fromEntries(page.blocks.map((block) => [block.name, found[`${block.name}.mean`]]));
}

const decode = async (codes) => (await through("decoder", codes)).mean;

// What the model reads of every label: as people write it, as a number, and how sure it is.
async function read(x) {
  if (!networks.classifier) return {};
  const found = await through("classifier", { x });
  const out = {};
  for (const label of page.labels) {
    const answer = found[label.name];
    if (label.values.length) {
      const best = answer.indexOf(Math.max(...answer));
      const sure = Math.min(99, Math.round(100 * answer[best]));
      out[label.name] = { value: best, sure: answer[best], text: `${label.values[best]} (${sure}%)` };
    } else {
      const [mean, sd] = answer;
      out[label.name] = { value: mean, sure: sd, text: `${short(mean)} ± ${short(sd, 2)}` };
    }
  }
  return out;
}

const short = (value, digits = 4) => String(Number(value.toPrecision(digits)));

window.labelspace = { page, sample, encode, decode, read }; // for programs

// -- blocks as they are drawn; see labelspace/explorer/charts.py -------------------------------------------------------

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const along = (block, code) => block.axes.map((axis) => dot(code.map((v, i) => v - block.origin[i]), axis));

function locate(block, code) {
  if (!block.anchors) return along(block, [...code]).slice(0, block.dimensions);
  let best = Infinity;
  let place = 0;
  const last = block.anchors.length - 2;
  for (let i = 0; i <= last; i++) {
    const [start, end] = [block.anchors[i], block.anchors[i + 1]];
    const way = end.map((v, j) => v - start[j]);
    const t0 = dot([...code].map((v, j) => v - start[j]), way) / Math.max(1e-12, dot(way, way));
    const t = Math.min(Math.max(t0, i > 0 ? 0 : -Infinity), i < last ? 1 : Infinity);
    const off = start.map((v, j) => v + t * way[j] - code[j]);
    if (dot(off, off) < best - 1e-9) [best, place] = [dot(off, off), block.scale[i] + t * (block.scale[i + 1] - block.scale[i])];
  }
  return [place];
}

// The code at a point of the first axes; what they do not show is held.
function lift(block, point, code) {
  if (block.anchors) {
    let i = 0;
    while (i < block.anchors.length - 2 && point[0] >= block.scale[i + 1]) i++;
    const t = (point[0] - block.scale[i]) / (block.scale[i + 1] - block.scale[i]);
    return Float32Array.from(block.anchors[i], (v, j) => v + t * (block.anchors[i + 1][j] - v));
  }
  const moved = Float32Array.from(code);
  const now = along(block, [...code]);
  point.forEach((value, k) => block.axes[k].forEach((a, j) => (moved[j] += (value - now[k]) * a)));
  return moved;
}

// Codes of a block at a value, of which a sample is given one: those that suit its free code come first, of these the slight ones
// last, then the others, first those that lack least.
function inOrder({ middle, axes, points, least, start, slope, factor, slight }, free) {
  const expected = start.map((v, k) => v + slope.reduce((sum, from, i) => sum + free[i] * from[k], 0));
  const size = factor.reduce((sum, from, k) => sum + Math.log(from[k]), 0);
  const beyond = points.map((point, i) => {
    const off = point.map((v, k) => v - expected[k]);
    return size - 0.5 * factor.reduce((sum, from) => sum + dot(from, off) ** 2, 0) - least[i];
  });
  const k = points.length;
  let rank = 0;
  const few = slight * beyond.filter((nats) => nats >= 0).length;
  const place = beyond.map((nats, i) => (nats < 0 ? 3 * k - nats : ++rank <= few ? 2 * k - i : i));
  const order = points.map((_, i) => i).sort((i, j) => place[i] - place[j]);
  return order.map((i) => middle.map((v, j) => v + points[i].reduce((sum, along, k) => sum + along * axes[k][j], 0)));
}

// The first of them with which the model is sure of the value, else the one with which it is most.
async function codeOf(label, value, codes) {
  const { block, choices } = label.move;
  const free = page.blocks.filter((b) => !b.label).flatMap((b) => [...codes[b.name]]);
  const offered = inOrder(choices[value], free);
  if (offered.length === 1 || !networks.classifier) return offered[0];
  let [best, surest] = [offered[0], 0];
  for (const code of offered) {
    const x = await decode({ ...codes, [block]: Float32Array.from(code) });
    const sure = (await through("classifier", { x }))[label.name][value];
    if (sure > surest) [best, surest] = [code, sure];
    if (sure >= choices[value].sure) break;
  }
  return best;
}

// A row of a table of codes: at a class, or between the numbers that it was made at.
function row(move, value) {
  if (!move.at) return move.codes[value];
  let i = 0;
  while (i < move.at.length - 2 && value >= move.at[i + 1]) i++;
  const t = (value - move.at[i]) / (move.at[i + 1] - move.at[i]);
  return move.codes[i].map((v, j) => v + t * (move.codes[i + 1][j] - v));
}

// -- pictures ---------------------------------------------------------------------------------------------------------

const [channels, height, width] = page.shape;

function picture(colour) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) pixels.data.set(colour(i), 4 * i);
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

const eighth = (value) => Math.round(255 * Math.min(1, Math.max(0, value)));
const shown = (x) => picture((i) => [...[0, 1, 2].map((c) => eighth(x[i + (channels === 3 ? c : 0) * width * height])), 255]);

// What became lighter (orange) and darker (violet).
function difference(x, before) {
  return picture((i) => {
    let change = 0;
    for (let c = 0; c < channels; c++) change += (x[i + c * width * height] - before[i + c * width * height]) / channels;
    return [...(change > 0 ? page.colours.more : page.colours.less), Math.min(255, 765 * Math.abs(change))];
  });
}

async function fitted(file) {
  const image = await createImageBitmap(file);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = page.framing.background;
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  let [w, h] = [image.width, image.height];
  if (page.framing.crop !== "none") [w, h] = w * height > h * width ? [(h * width) / height, h] : [w, (w * height) / width];
  context.drawImage(image, (image.width - w) / 2, (image.height - h) / 2, w, h, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const x = new Float32Array(entries);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 3) [r, g, b].forEach((value, c) => (x[i + c * width * height] = value / 255));
    else x[i] = (0.299 * r + 0.587 * g + 0.114 * b) / 255;
  }
  return x;
}

// -- rows -------------------------------------------------------------------------------------------------------------

const MOST_ROWS = 60;

function rows(original, reconstruction, edit) {
  let order = page.features.map((_, i) => i);
  if (order.length > MOST_ROWS) {
    const change = order.map((i) => Math.abs(edit[i] - reconstruction[i]) || 0);
    order = order.sort((a, b) => change[b] - change[a]).slice(0, MOST_ROWS).sort((a, b) => a - b);
  }
  const number = (value, i) => (Number.isNaN(value) ? null : value + page.origins[i]);
  return order.map((i) => ({
    name: page.features[i],
    original: number(original[i], i),
    reconstruction: number(reconstruction[i], i),
    edit: number(edit[i], i),
  }));
}

// -- the page ---------------------------------------------------------------------------------------------------------

const { createApp, markRaw } = await module("vue");
const isImage = page.shape.length === 3;
const FEW = 4;
const LONG = 32;
const titles = {
  original: ["Original", "The sample as it is"],
  edit: ["Edit", "The edited sample"],
  reconstruction: ["Reconstruction", "The sample encoded and decoded without any edit"],
  difference: ["Difference", "What the edit changes"],
};

const app = createApp({
  components: { LatentMap, Pictures, Bars, Gallery, Readings, Reading, Slide },
  template: `
    <div class="app saved" v-if="state && first">
      <header>
        <h1>labelspace</h1><span class="about">{{ page.name }} · {{ page.model }} · {{ page.data }}</span><span class="grow"></span>
        <button type="button" class="tool undo" :disabled="!past.length" @click="undo">Undo</button>
        <button type="button" class="tool redo" :disabled="!future.length" @click="redo">Redo</button>
        <button type="button" class="tool reset" :disabled="!state.steps.length" @click="reset">Reset</button>
        <label class="detail" title="Keep what the model could not reconstruct"><input type="checkbox" v-model="keep" @change="show()" />
          Keep detail</label>
        <button type="button" class="tool" @click="save">Save this edit</button>
        <button type="button" class="tool" @click="turn">Light or dark</button>
      </header>
      <section class="panel samples" aria-label="Samples">
        <h2>Samples</h2>
        <Gallery label="Samples" :items="items" :pictures="isImage" :selected="chosen" empty="No samples." @choose="choose" />
        <div class="bring" v-if="isImage"><label class="upload"><input type="file" accept="image/*" aria-label="Your own picture"
          @change="bring" /><span aria-hidden="true">Your own picture</span></label></div>
      </section>
      <div class="middle">
        <section class="panel compare" aria-label="Comparison">
          <div class="heading"><h2>{{ name }}</h2><p class="live" aria-live="polite">{{ said }}</p></div>
          <Pictures v-if="isImage" ref="view" :items="first" />
          <Bars v-else ref="view" :rows="first" :ranges="page.ranges" :classes="page.classes" @cell="cell" />
        </section>
        <section class="panel views" aria-label="Coordinates">
          <h2>Coordinates of {{ block.name }}</h2>
          <div class="coordinates">
            <div v-for="(axis, k) in block.sliders" :key="block.name + k"><span>{{ axis.name }}</span>
              <Slide :label="axis.name" :low="axis.low" :high="axis.high" :counts="axis.counts" :value="coordinates[k]"
                @set="(event) => slide(k, event)" /></div>
          </div>
          <p class="hint" v-if="block.size > block.sliders.length">{{ page.method }}; of {{ block.size }} coordinates.</p>
        </section>
      </div>
      <section class="panel blocks" aria-label="Labels and latent blocks">
        <h2>Labels and latent blocks</h2>
        <p class="remark" v-for="remark in page.remarks">{{ remark }}.</p>
        <Readings ref="readings" :first="reading">
          <div v-for="label in page.labels" :key="label.name" class="entry"
            :class="{chosen: label.block === block.name, changed: status(label)}">
            <button v-if="label.block" type="button" class="row-name" :aria-label="'Map of ' + label.name" @click="map(label.block)">{{ label.name }}</button>
            <span v-else class="row-name">{{ label.name }}</span>
            <div class="control">
              <template v-if="!label.move"></template>
              <Slide v-else-if="!label.values.length" :label="label.name" :low="label.low" :high="label.high" :counts="label.counts"
                :value="value(label)" @set="(event) => set(label, event.value, event.final, event.number)" />
              <div v-else-if="fits(label)" class="values" role="group" :aria-label="label.name">
                <button v-for="(text, i) in label.values" type="button" class="value" :class="{on: value(label) === i}"
                  :aria-pressed="value(label) === i" :aria-label="label.name + ' ' + text" @click="set(label, i)">{{ text }}</button>
              </div>
              <select v-else class="choice" :aria-label="label.name" :value="value(label)" @change="set(label, Number($event.target.value))">
                <option v-for="(text, i) in label.values" :value="i">{{ text }}</option>
              </select>
              <Reading :label="label.name" about="What the model's own head reads in the edit" />
              <span class="status">{{ status(label) || (known(label) ? "" : value(label) === null ? "not known" : "predicted") }}</span>
            </div>
          </div>
          <div v-for="free in page.blocks.filter((one) => !one.label)" :key="free.name" class="entry" :class="{chosen: free.name === block.name}">
            <button type="button" class="row-name" :aria-label="'Map of ' + free.name" @click="map(free.name)">{{ free.name }}</button>
            <div class="control"><span class="status">{{ moved(free) ? free.name + " moved" : free.size + " coordinates of everything else" }}</span></div>
          </div>
        </Readings>
        <div class="map-box">
          <div class="heading"><h3>{{ block.name }}: {{ block.size }} coordinate{{ block.size > 1 ? "s" : "" }}{{ block.label ? "" : ", free" }}{{ block.size > 2 && !block.anchors ? ", by PCA" : "" }}</h3></div>
          <LatentMap :chart="chart" :point="point" :home="home" :label="'Position in ' + block.name" @move="drag" />
          <div class="legend"><span v-if="block.anchors">The block is the label's own value: slide between values.</span>
            <template v-else><span v-if="block.legends[colouring]?.length">{{ colouring }}:</span>
              <span class="key" v-for="[text, colour] in block.legends[colouring] || []"><i :style="{background: colour}"></i>
              <span>{{ text }}</span></span>
            <span class="key quiet">outlines: priors, one and two deviations</span></template></div>
          <div class="tools"><button type="button" class="tool" @click="back">Back to its own</button>
            <label class="colouring" v-if="Object.keys(block.charts).length > 1">Colours <select v-model="colour">
              <option v-for="(_, name) in block.charts">{{ name }}</option></select></label></div>
        </div>
      </section>
    </div>
    <p v-else class="opening" role="status">Opening the model ...</p>`,
  data() {
    return {
      page: markRaw(page),
      isImage,
      state: null, // of the edit: codes, values and which are known, steps
      past: [],
      future: [],
      keep: page.keeps_detail,
      name: "",
      chosen: null,
      said: "",
      block: page.blocks.find((one) => one.label) || page.blocks[0],
      colour: null,
      first: null,
      reading: { labels: {}, codes: "", far: false },
      predicted: {},
      items: page.samples.items.map((item, id) => (isImage ? { ...item, id, src: shown(sample(id)) } : { ...item, id })),
    };
  },
  async created() {
    this.queue = Promise.resolve(); // networks are run one after the other
    this.asked = 0;
    await this.choose(0);
  },
  mounted() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => document.body.classList.toggle("body--dark", system.matches);
    system.addEventListener("change", follow);
    follow();
  },
  computed: {
    colouring() {
      return this.block.charts[this.colour] ? this.colour : Object.keys(this.block.charts)[0];
    },
    chart() {
      return this.block.charts[this.colouring];
    },
    point() {
      return locate(this.block, this.state.codes[this.block.name]).map((v) => Number(v.toFixed(this.chart.digits)));
    },
    home() {
      return locate(this.block, this.state.start[this.block.name]).map((v) => Number(v.toFixed(this.chart.digits)));
    },
    coordinates() {
      const code = this.state.codes[this.block.name];
      return this.block.anchors ? locate(this.block, code) : along(this.block, [...code]);
    },
  },
  methods: {
    fits: (label) => label.values.length <= FEW && label.values.join("").length <= LONG,
    turn: () => document.body.classList.toggle("body--dark"),
    map(name) {
      this.block = page.blocks.find((one) => one.name === name);
    },

    // -- samples
    async choose(id) {
      const { name, values } = page.samples.items[id];
      this.chosen = id;
      await this.begin(name, sample(id), values);
    },
    async bring(event) {
      const file = event.target.files[0];
      event.target.value = "";
      if (!file) return;
      try {
        const x = await fitted(file);
        this.chosen = null;
        await this.begin(file.name, x, page.labels.map(() => null));
      } catch {
        this.said = `${file.name} is not a picture that the browser can read`;
      }
    },
    async cell({ name, text }) {
      const i = page.features.indexOf(name);
      const classes = page.classes[name];
      const value = !text.trim() ? NaN : classes ? classes.indexOf(text) : Number(text) - page.origins[i];
      if (text.trim() && (Number.isNaN(value) || (classes && value < 0))) {
        this.said = `${name} cannot be ${text}`;
        return;
      }
      const x = this.x.slice();
      x[i] = value;
      const held = Object.fromEntries(page.blocks.filter((b) => this.moved(b)).map((b) => [b.name, this.state.codes[b.name]]));
      const steps = this.state.steps;
      await this.begin(this.name.replace(/( \(changed\))?$/, " (changed)"), x, this.given, held, steps);
      this.said = `${name} changed to ${text.trim() || "missing"}`;
    },
    async begin(name, x, given, held = {}, steps = []) {
      [this.name, this.x, this.given] = [name, x, given];
      const observed = Uint8Array.from(given, (value) => value !== null);
      const values = Float32Array.from(given, (value) => value ?? 0);
      await this.turnOf(async () => {
        const start = await encode(x, values, observed);
        this.reconstruction = await decode(start);
        this.predicted = await read(x);
        [this.past, this.future] = [[], []];
        this.state = markRaw({ start, codes: { ...start, ...held }, values: given, steps });
      });
      await this.show();
      this.said = `${name} chosen`;
    },

    // -- edits
    turnOf(job) {
      this.queue = this.queue.then(job, job);
      return this.queue;
    },
    value(label) {
      if (this.state.steps.some((step) => step.block === label.block && label.block && !step.label)) return null;
      return this.state.values[page.labels.indexOf(label)] ?? this.predicted[label.name]?.value ?? null;
    },
    known(label) {
      return this.state.values[page.labels.indexOf(label)] !== null || this.status(label) !== "";
    },
    status(label) {
      const step = this.state.steps.findLast((one) => one.label === label.name || (label.block && one.block === label.block));
      return step ? step.text : "";
    },
    moved(block) {
      return this.state.codes[block.name].some((v, i) => v !== this.state.start[block.name][i]);
    },
    edited(codes, step, values = this.state.values) {
      const steps = this.state.steps.filter((one) => one.block !== step.block || one.label !== step.label);
      return markRaw({ start: this.state.start, codes: { ...this.state.codes, ...codes }, values, steps: [...steps, step] });
    },
    async withValue(label, value) {
      const at = page.labels.indexOf(label);
      const now = this.state.values[at] ?? this.predicted[label.name]?.value;
      const values = this.state.values.map((one, i) => (i === at ? value : one));
      const said = label.values.length ? label.values[value] : short(value);
      const step = { label: label.name, block: label.move.block, text: `${label.name} set to ${said}` };
      const own = this.keep && this.given[at] !== null && this.given[at] === value && this.state.values[at] === value;
      if (own && !this.status(label)) return this.edited({}, step, values);
      const { codes } = this.state;
      const target = label.move.choices ? await this.turnOf(() => codeOf(label, value, codes)) : row(label.move, value);
      if (!label.move.shifts) return this.edited({ [label.move.block]: Float32Array.from(target) }, step, values);
      const from = row(label.move, now);
      const code = this.state.codes[label.move.block].map((v, i) => v + target[i] - from[i]);
      return this.edited({ [label.move.block]: code }, step, values);
    },
    async set(label, value, final = true, number = 0) {
      if (value === null) return;
      if (label.move.shifts && this.value(label) === null) {
        this.said = `${label.name} is not known of this sample, and the model moves from its own value`;
        return;
      }
      await this.go(await this.withValue(label, value), final, number);
    },
    async pointed(block, point) {
      const code = lift(block, point, this.state.codes[block.name]);
      const label = page.labels.find((one) => one.name === block.label);
      if (block.anchors && label) {
        const value = label.values.length ? Math.round(point[0]) : point[0];
        if (Math.abs(value - point[0]) < 1e-6) return this.withValue(label, value);
      }
      return this.edited({ [block.name]: code }, { block: block.name, text: `${block.name} moved` });
    },
    async drag({ block, point, final, number }) {
      await this.go(await this.pointed(page.blocks.find((one) => one.name === block), point), final, number);
    },
    async slide(k, { value, final, number }) {
      if (value === null) return;
      const point = this.block.anchors ? [value] : this.coordinates.map((v, i) => (i === k ? value : v));
      await this.go(await this.pointed(this.block, point), final, number);
    },
    async go(state, final, number) {
      if (final) {
        this.past = [...this.past, this.state];
        this.future = [];
        this.state = state;
        this.said = state.steps.at(-1).text;
      }
      await this.show(state, number);
    },
    back() {
      if (!this.moved(this.block)) return;
      const name = this.block.name;
      const steps = this.state.steps.filter((step) => step.block !== name);
      const values = this.state.values.map((value, i) => (page.labels[i].block === name ? this.given[i] : value));
      this.past = [...this.past, this.state];
      this.future = [];
      this.state = markRaw({ start: this.state.start, codes: { ...this.state.codes, [name]: this.state.start[name] }, values, steps });
      this.said = `${name} is back to its own`;
      this.show();
    },
    undo() {
      this.future = [this.state, ...this.future];
      this.state = this.past.at(-1);
      this.past = this.past.slice(0, -1);
      this.said = "undone";
      this.show();
    },
    redo() {
      this.past = [...this.past, this.state];
      [this.state, ...this.future] = this.future;
      this.said = "done again";
      this.show();
    },
    reset() {
      this.past = [...this.past, this.state];
      this.future = [];
      this.state = markRaw({ ...this.state, codes: this.state.start, values: this.given, steps: [] });
      this.said = "all edits taken back";
      this.show();
    },

    // -- what is shown of them
    show(state = this.state, number = 0) {
      const asked = ++this.asked;
      return this.turnOf(async () => {
        if (asked < this.asked && number && state !== this.state) return; // a later picture is wanted already
        const edit = await this.made(state);
        const before = this.keep ? this.x : this.reconstruction;
        const now = await read(edit);
        this.shown = edit;
        const frame = isImage
          ? { edit: shown(edit), difference: difference(edit, before), original: shown(this.x), reconstruction: shown(this.reconstruction) }
          : rows(this.x, this.reconstruction, edit);
        const reading = { labels: this.readings(state, now, await read(before)), codes: "", far: false };
        if (!this.first) {
          this.first = isImage ? Object.entries(frame).map(([key, src]) => ({ key, src, title: titles[key][0], alt: titles[key][1] })) : frame;
          this.reading = reading;
          return;
        }
        await this.$refs.view?.show(frame, number);
        this.$refs.readings?.show(reading, number);
      });
    },
    async made(state) {
      const mean = await decode(state.codes);
      if (!this.keep) return mean;
      if (!page.blocks.some((block) => state.codes[block.name] !== state.start[block.name])) return this.x;
      const { kept } = await through("detail", { x: this.x, before: this.reconstruction, after: mean });
      if (isImage || state.steps.some((step) => !step.label)) return kept;
      const about = state.steps.map((step) => page.labels.find((one) => one.name === step.label));
      return kept.map((value, i) => (about.some((label) => label.columns[i]) ? value : this.x[i]));
    },
    readings(state, now, before) {
      const out = {};
      for (const [name, found] of Object.entries(now)) {
        const label = page.labels.find((one) => one.name === name);
        const was = before[name];
        const changed = label.values.length ? found.value !== was.value : Math.abs(found.value - was.value) > Math.max(found.sure, was.sure);
        out[name] = { text: found.text, changed, asked: state.steps.some((step) => step.label === name || step.block === label.block) };
      }
      return out;
    },
    save() {
      const link = document.createElement("a");
      const stem = this.name.replace(/[^\w.-]+/g, "-");
      if (isImage) [link.href, link.download] = [shown(this.shown), `${stem}-edited.png`];
      else {
        const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
        const cells = page.features.map((name, i) => {
          const value = this.shown[i];
          if (Number.isNaN(value)) return "";
          return page.classes[name] ? quoted(page.classes[name][Math.round(value)]) : value + page.origins[i];
        });
        const text = `${page.features.map(quoted).join(",")}\n${cells.join(",")}\n`;
        [link.href, link.download] = [`data:text/csv;charset=utf-8,${encodeURIComponent(text)}`, `${stem}-edited.csv`];
      }
      link.click();
    },
  },
});
app.mount("#app");
