// SPDX-License-Identifier: Apache-2.0
// The engine in WebAssembly for pages, workers, audio worklets and Node: PCM in, sound events out.
//
//   const tagger = await EdgeAudio.load("edge_audio.wasm", "edge_audio_image.bin");
//   for (const event of tagger.push(samples)) console.log(event.timeS, event.kind, event.label);

const STATUS = [
  "ok",
  "a label or a threshold is out of range",
  "this is not an image of a model, or not all of it: copy the file again",
  "the image was made for another version of the engine: build both again",
  "the image was altered: copy the file again",
  "the image is not aligned",
  "the model needs more memory: build the module with a larger EDGE_AUDIO_ARENA_BYTES",
  "the model has parts that this module was built without: build it again for this model",
  "too many events at once",
];
const EVENT_BYTES = 24; // uint64 sample, uint32 label, uint32 kind, float score, padding
const KINDS = ["start", "end"];
const RELATED = ["all", "most-specific", "first"];

export class EdgeAudioError extends Error {}

/** One model and one stream of audio. Scores are probabilities, times are audio seconds. */
export class EdgeAudio {
  #wasm;
  #samples;
  #scores;

  /** Fetches and opens; without imageUrl the image has to be inside of the module. */
  static async load(wasmUrl, imageUrl) {
    const urls = imageUrl === undefined ? [wasmUrl] : [wasmUrl, imageUrl];
    const [wasm, image] = await Promise.all(urls.map(fetchBytes));
    return EdgeAudio.open(wasm, image);
  }

  /** wasm, image: ArrayBuffers or typed arrays. Throws EdgeAudioError. */
  static open(wasm, image) {
    return new EdgeAudio(new WebAssembly.Instance(new WebAssembly.Module(wasm)), image);
  }

  constructor(instance, image) {
    this.#wasm = instance.exports;
    this.#start(image);
    const wasm = this.#wasm;
    const memory = wasm.memory.buffer; // fixed: views of it stay valid
    const nLabels = wasm.edge_audio_n_labels();
    this.sampleRateHz = wasm.edge_audio_sample_rate_hz();
    this.stepSamples = wasm.edge_audio_step_samples();
    this.imageCrc32 = wasm.edge_audio_image_crc32() >>> 0;
    this.kernels = this.#text(wasm.edge_audio_kernels());
    this.nFrames = wasm.edge_audio_n_frames();
    this.nMels = wasm.edge_audio_n_mels();
    this.labels = Array.from({ length: nLabels }, (_, i) => this.#text(wasm.edge_audio_label(i)));
    this.#samples = new Int16Array(memory, wasm.edge_audio_samples(), this.stepSamples);
    this.#scores = new Float32Array(memory, wasm.edge_audio_scores(), nLabels);
  }

  /** Float32Array [labels] after the latest step; a view that the next step overwrites. */
  get scores() {
    return this.#scores;
  }

  /** Steps since the start of the stream. */
  get nSteps() {
    return Number(this.#wasm.edge_audio_n_steps());
  }

  /** Samples since the start of the stream. */
  get nSamples() {
    return Number(this.#wasm.edge_audio_n_samples());
  }

  /** Hears samples, an Int16Array or a Float32Array within -1 and 1, mono at sampleRateHz, any
   * number. Returns the events that they complete; onStep(events) is called after each step. */
  push(samples, onStep) {
    const found = [];
    for (let start = 0; start < samples.length; start += this.stepSamples) {
      const n = Math.min(this.stepSamples, samples.length - start);
      this.#write(samples, start, n);
      const nStepsBefore = onStep && this.nSteps;
      const events = this.#events(this.#wasm.edge_audio_push(n));
      if (onStep && this.nSteps > nStepsBefore) onStep(events);
      found.push(...events);
    }
    return found;
  }

  /** Ends the stream and all open events; the next push begins a new one. */
  flush() {
    return this.#events(this.#wasm.edge_audio_flush());
  }

  /** Begins a new stream. */
  reset() {
    this.#wasm.edge_audio_reset();
  }

  /** Events of a label start at `on`, 0 to 1, and end below `off`; on = 0 switches it off. */
  setThreshold(label, on, off = 0.7 * on) {
    const index = this.labels.indexOf(label);
    if (index < 0) throw new EdgeAudioError(`unknown label ${JSON.stringify(label)}`);
    check(this.#wasm.edge_audio_set_threshold(index, on, off));
  }

  /** What is reported of labels that name one sound: "most-specific" (Bark, and neither Dog nor
   * Animal beside it), "first" or "all"; at first what the image was built for. */
  setRelated(related) {
    const index = RELATED.indexOf(related);
    if (index < 0) throw new EdgeAudioError(`related is one of ${RELATED.join(", ")}`);
    if (this.#wasm.edge_audio_set_related(index) !== 0)
      throw new EdgeAudioError("the image has no related labels: build it with --related");
  }

  /** [labels]: scores at which events start, 0 for labels that are switched off. */
  thresholds() {
    return this.labels.map((_, i) => this.#wasm.edge_audio_threshold(i));
  }

  /** Float32Array [nFrames * nMels]: what the network was given of the samples heard last. */
  logMel() {
    const address = this.#wasm.edge_audio_log_mel();
    return new Float32Array(this.#wasm.memory.buffer, address, this.nFrames * this.nMels).slice();
  }

  #start(image) {
    if (image === undefined || image === null) {
      if (this.#wasm.edge_audio_image_bytes() === 0)
        throw new EdgeAudioError("no image inside of the module: give one as the second argument");
      return check(this.#wasm.edge_audio_start(0));
    }
    const bytes = new Uint8Array(image.buffer ?? image, image.byteOffset ?? 0, image.byteLength);
    const address = this.#wasm.edge_audio_reserve(bytes.length);
    if (address === 0 || bytes.length === 0) return check(bytes.length === 0 ? 2 : 6);
    new Uint8Array(this.#wasm.memory.buffer).set(bytes, address);
    return check(this.#wasm.edge_audio_start(bytes.length));
  }

  #write(samples, start, n) {
    const part = samples.subarray(start, start + n);
    if (samples instanceof Int16Array) return this.#samples.set(part);
    for (let i = 0; i < n; i++) {
      const value = Math.round(part[i] * 32768); // NaN becomes 0
      this.#samples[i] = Math.max(-32768, Math.min(32767, value));
    }
  }

  #events(nEvents) {
    check(-Math.min(nEvents, 0));
    const start = this.#wasm.edge_audio_events();
    const view = new DataView(this.#wasm.memory.buffer, start, nEvents * EVENT_BYTES);
    return Array.from({ length: nEvents }, (_, i) => this.#event(view, i * EVENT_BYTES));
  }

  #event(view, at) {
    const sample = Number(view.getBigUint64(at, true));
    return {
      sample,
      timeS: sample / this.sampleRateHz,
      kind: KINDS[view.getUint32(at + 12, true)],
      label: this.labels[view.getUint32(at + 8, true)],
      score: view.getFloat32(at + 16, true),
    };
  }

  #text(address) {
    const memory = new Uint8Array(this.#wasm.memory.buffer);
    let escaped = ""; // audio worklets have no TextDecoder
    for (let i = address; memory[i] !== 0; i++)
      escaped += `%${memory[i].toString(16).padStart(2, "0")}`;
    return decodeURIComponent(escaped);
  }
}

/** Float32 audio of any rate -> another rate, in blocks of any size: windowed sinc, polyphase. */
export class Resampler {
  #phases;
  #nTaps;
  #up;
  #down;
  #waiting;
  #position = 0; // of the next output, in units of 1 / up input samples after #waiting[0]

  /** Whole rates in Hz. */
  constructor(inRateHz, outRateHz) {
    const divisor = greatestCommonDivisor(inRateHz, outRateHz);
    this.#up = outRateHz / divisor;
    this.#down = inRateHz / divisor;
    const cutoff = 0.95 * Math.min(1, outRateHz / inRateHz); // of the input's half rate
    const half = Math.ceil(24 / cutoff);
    this.#nTaps = 2 * half;
    this.#phases = Array.from({ length: this.#up }, (_, phase) =>
      sincTaps(half, phase / this.#up, cutoff),
    );
    this.#waiting = new Float32Array(half - 1); // so that nothing is delayed
  }

  push(input) {
    const samples = new Float32Array(this.#waiting.length + input.length);
    samples.set(this.#waiting);
    samples.set(input, this.#waiting.length);
    const output = [];
    for (; this.#index() + this.#nTaps <= samples.length; this.#position += this.#down)
      output.push(this.#dot(samples));
    const nUsed = Math.min(this.#index(), samples.length);
    this.#position -= nUsed * this.#up;
    this.#waiting = samples.slice(nUsed);
    return Float32Array.from(output);
  }

  #index() {
    return Math.floor(this.#position / this.#up);
  }

  #dot(samples) {
    const taps = this.#phases[this.#position % this.#up];
    const start = this.#index();
    let sum = 0;
    for (let i = 0; i < taps.length; i++) sum += taps[i] * samples[start + i];
    return sum;
  }
}

/** Notices audio that never arrived: the clock on the wall runs on, that of the audio does not. */
export class DropCounter {
  #windowS;
  #baselineS = Infinity;
  #leastS = Infinity;
  #windowEndS = -Infinity;
  droppedS = 0;

  /** windowS: lateness is compared once in so many seconds, by its least value, which the
   * irregular calls of a healthy stream do not change. */
  constructor(windowS = 2) {
    this.#windowS = windowS;
  }

  /** Both since any moment; losses under 40 ms in one window pass for drift of the clocks. */
  push(wallS, audioS) {
    this.#leastS = Math.min(this.#leastS, wallS - audioS);
    if (this.#windowEndS === -Infinity) this.#windowEndS = wallS + this.#windowS;
    if (wallS < this.#windowEndS) return;
    const lostS = this.#leastS - this.#baselineS;
    if (lostS > 0.04) this.droppedS += lostS;
    this.#baselineS = this.#leastS;
    this.#leastS = Infinity;
    this.#windowEndS = wallS + this.#windowS;
  }
}

/** Half-width `half` input samples around a point `fraction` behind the middle's left sample. */
function sincTaps(half, fraction, cutoff) {
  const taps = new Float32Array(2 * half);
  for (let i = 0; i < taps.length; i++) {
    const distance = i - (half - 1) - fraction;
    const angle = Math.PI * cutoff * distance;
    const sinc = distance === 0 ? 1 : Math.sin(angle) / angle;
    taps[i] = cutoff * sinc * Math.cos((Math.PI * distance) / (2 * half)) ** 2;
  }
  return taps;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function check(status) {
  if (status !== 0) throw new EdgeAudioError(STATUS[status] ?? `status ${status}`);
}

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new EdgeAudioError(`${url}: ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}
