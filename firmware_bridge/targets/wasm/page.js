// SPDX-License-Identifier: Apache-2.0
// The page around the worklet: opens a microphone or a file, shows what comes back.

const SAMPLE_RATE_HZ = 16000; // of the models; the browser resamples, or else the worklet
const SHOWN_S = 10;
const N_TAGS = 8;
const N_EVENTS_KEPT = 200;
const N_LANES = 5; // of events over the spectrogram
const HOLD_PER_STEP = 0.97; // of the ranks: a tag stays for seconds after its sound
const MIN_SHOWN_SCORE = 0.02;

const RAMPS = {
  dark: ["#0d1117", "#1f1b4d", "#5b2a86", "#b13d7c", "#ee7752", "#fcc96b", "#fffbe0"],
  light: ["#ffffff", "#e3ecf5", "#b3cde3", "#74a3cf", "#3a6fa8", "#1d3f72", "#0a1a38"],
};
const LOG_MEL_RANGE = [-1.6, 2.4]; // what the ramp spans, in standard deviations

const MICROPHONE_ERRORS = {
  NotAllowedError:
    "The browser was not allowed to use the microphone. Allow it beside the address bar " +
    "(or in the settings of your system), then press Listen again. A sound file needs no permission.",
  NotFoundError: "No microphone was found. Plug one in and press Listen again, or open a sound file.",
  NotReadableError:
    "The microphone is there but gives no sound: another program may have it. Close that program " +
    "and press Listen again.",
};
MICROPHONE_ERRORS.SecurityError = MICROPHONE_ERRORS.NotAllowedError;
MICROPHONE_ERRORS.OverconstrainedError = MICROPHONE_ERRORS.NotFoundError;

/** A message for the person in front of the page. */
class PageError extends Error {}

const element = (id) => document.getElementById(id);

function make(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Seconds as m:ss.ss, or h:mm:ss.ss from an hour on. */
function clock(timeS) {
  const centiseconds = Math.round(timeS * 100);
  const hours = Math.floor(centiseconds / 360000);
  const minutes = Math.floor(centiseconds / 6000) % 60;
  const seconds = ((centiseconds % 6000) / 100).toFixed(2).padStart(5, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

// ------------------------------------------------------------------ what the page is made of

/** {wasm, image, workletUrl}: from inside of a page that is one file, or from beside it. */
async function loadParts() {
  if (element("edge-audio-wasm")) {
    const [wasm, image] = ["edge-audio-wasm", "edge-audio-image"].map(inlineBytes);
    // Pages opened as files may not load worklets from Blobs, but from this:
    const workletUrl = `data:text/javascript;base64,${inlineText("edge-audio-worklet")}`;
    return { wasm, image, workletUrl };
  }
  const names = ["edge_audio.wasm", "edge_audio_image.bin"];
  const [wasm, image] = await Promise.all(names.map(fetchBytes));
  return { wasm, image, workletUrl: "worklet.js" };
}

const inlineText = (id) => element(id).textContent.trim();

function inlineBytes(id) {
  return Uint8Array.from(atob(inlineText(id)), (character) => character.charCodeAt(0)).buffer;
}

async function fetchBytes(name) {
  const response = await fetch(name).catch(() => ({ ok: false, status: "no answer" }));
  if (!response.ok)
    throw new PageError(`${name} could not be loaded (${response.status}): is it beside this page?`);
  return response.arrayBuffer();
}

function checkBrowser() {
  if (!window.isSecureContext)
    throw new PageError(
      "Browsers give a microphone to safe pages only: open this one by https, from this computer " +
        "(run python3 -m http.server in its folder and open http://localhost:8000), or as a file.",
    );
  if (!window.AudioWorkletNode || !window.WebAssembly)
    throw new PageError("This browser has no AudioWorklet or no WebAssembly: use one of 2022 or later.");
}

// ------------------------------------------------------------------------------- listening

/** One stream from a microphone or a file, from its start to its end. */
class Listening {
  #context = null;
  #node = null;
  #stream = null;
  #source = null;
  #show;
  #isOver = false;

  /** show: {ready, step, end, error}, called with what the worklet posts. */
  constructor(show) {
    this.#show = show;
  }

  async microphone() {
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (!navigator.mediaDevices?.getUserMedia)
      throw new PageError("This browser gives pages no microphone: open a sound file instead.");
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio: wanted }).catch((error) => {
      throw new PageError(MICROPHONE_ERRORS[error.name] ?? `The microphone does not open: ${error.message}`);
    });
    if (this.#isOver) return this.#close();
    this.#stream.getAudioTracks()[0].onended = () => {
      this.#show.error("The microphone went away. Plug it in and press Listen again.");
    };
    this.#openMicrophone();
    await this.#run();
  }

  async file(file) {
    this.#context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ });
    const buffer = await file
      .arrayBuffer()
      .then((bytes) => this.#context.decodeAudioData(bytes))
      .catch(() => {
        throw new PageError(`${file.name} is not sound that this browser can play: try WAV, FLAC or MP3.`);
      });
    if (this.#isOver) return this.#close();
    this.#source = new AudioBufferSourceNode(this.#context, { buffer });
    this.#source.connect(this.#context.destination);
    this.#source.onended = () => this.end();
    await this.#run();
    this.#source.start();
  }

  /** Ends open events, of which show.end is told, and gives the microphone back. False if there
   * was nothing to end yet. */
  end() {
    if (!this.#node) return false;
    this.#node.port.postMessage("end");
    this.#context.resume();
    return true;
  }

  /** Goes on after the browser has put the page to sleep. */
  wake() {
    if (this.#context?.state !== "closed") this.#context?.resume();
  }

  /** Gives everything back at once. */
  abort() {
    this.#isOver = true;
    this.#close();
  }

  #openMicrophone() {
    try {
      this.#context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ });
      this.#source = this.#context.createMediaStreamSource(this.#stream);
    } catch { // a browser that does not resample microphones
      this.#context?.close();
      this.#context = new AudioContext();
      this.#source = this.#context.createMediaStreamSource(this.#stream);
    }
  }

  async #run() {
    const { wasm, image, workletUrl } = await loadParts();
    await this.#context.audioWorklet.addModule(workletUrl);
    if (this.#isOver) return this.#close();
    this.#node = new AudioWorkletNode(this.#context, "edge-audio", {
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { wasm, image },
    });
    this.#node.port.onmessage = ({ data }) => this.#receive(data);
    this.#node.onprocessorerror = () => this.#show.error("The audio thread stopped: press Listen again.");
    this.#source.connect(this.#node);
    this.#node.connect(this.#context.destination); // silent, but what leads nowhere may not run
    await this.#context.resume();
  }

  #receive({ ready, step, end, error }) {
    if (ready) this.#show.ready(ready);
    if (step) this.#show.step(step);
    if (error) this.#show.error(`The model does not open: ${error}.`);
    if (end) {
      this.#close();
      this.#show.end(end);
    }
  }

  #close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    if (this.#source) this.#source.onended = null;
    if (this.#context?.state !== "closed") this.#context?.close();
  }
}

// --------------------------------------------------------------------------------- showing

/** The latest SHOWN_S of log-mel frames, and the events in them as bars. */
class Spectrogram {
  #canvas = element("spectrogram");
  #frames = document.createElement("canvas"); // one pixel per frame and band, used as a ring
  #nColumns = 0;
  #ramp = [];

  constructor({ nFrames, nMels, stepMs }) {
    this.nFrames = nFrames;
    this.nMels = nMels;
    this.#frames.width = Math.round((1000 * SHOWN_S * nFrames) / stepMs);
    this.#frames.height = nMels;
    this.setColours();
  }

  setColours() {
    this.#ramp = rampColours(RAMPS[isDark() ? "dark" : "light"]);
    const context = this.#frames.getContext("2d");
    context.fillStyle = `rgb(${this.#ramp[0].join(" ")})`;
    context.fillRect(0, 0, this.#frames.width, this.#frames.height);
  }

  /** logMel: Float32Array [nFrames * nMels]. */
  push(logMel) {
    const image = new ImageData(this.nFrames, this.nMels);
    const [low, high] = LOG_MEL_RANGE;
    for (let i = 0; i < logMel.length; i++) {
      const [frame, band] = [Math.floor(i / this.nMels), i % this.nMels];
      const level = Math.round((255 * (logMel[i] - low)) / (high - low));
      const colour = this.#ramp[Math.max(0, Math.min(255, level || 0))];
      image.data.set([...colour, 255], 4 * ((this.nMels - 1 - band) * this.nFrames + frame));
    }
    const column = this.#nColumns % this.#frames.width;
    this.#frames.getContext("2d").putImageData(image, column, 0);
    this.#nColumns += this.nFrames;
  }

  /** spans: [{label, startS, endS or null}], of which those in sight are drawn. */
  draw(spans, nowS) {
    const { width, height, context } = fitted(this.#canvas);
    const split = this.#nColumns % this.#frames.width; // the oldest column
    const total = this.#frames.width;
    const scale = width / total;
    context.imageSmoothingEnabled = true;
    const { nMels } = this;
    context.drawImage(this.#frames, split, 0, total - split, nMels, 0, 0, (total - split) * scale, height);
    if (split > 0)
      context.drawImage(this.#frames, 0, 0, split, nMels, (total - split) * scale, 0, split * scale, height);
    this.#drawSpans(context, spans, nowS, width, height);
  }

  #drawSpans(context, spans, nowS, width, height) {
    const toX = (timeS) => width * (1 - (nowS - timeS) / SHOWN_S);
    const laneEnds = [];
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const { label, startS, endS } of spans) {
      const left = Math.max(0, toX(startS));
      const right = Math.min(width, toX(endS ?? nowS));
      if (right <= 0) continue;
      const textWidth = context.measureText(label).width + 12;
      const boxLeft = Math.min(left, width - textWidth); // of what began just now
      const boxRight = Math.max(right, boxLeft + textWidth);
      let lane = laneEnds.findIndex((end) => end <= boxLeft);
      if (lane < 0) lane = laneEnds.length;
      laneEnds[lane] = boxRight + 2;
      const top = height - 20 * (lane + 1);
      if (lane < N_LANES) drawSpan(context, { label, top, left, right, boxLeft, boxRight });
    }
  }
}

function drawSpan(context, { label, top, left, right, boxLeft, boxRight }) {
  context.fillStyle = isDark() ? "rgb(10 14 20 / 72%)" : "rgb(255 255 255 / 80%)";
  context.fillRect(boxLeft, top, boxRight - boxLeft, 18);
  context.fillStyle = styleOf("--accent");
  context.fillRect(left, top + 15, Math.max(right - left, 2), 3);
  context.fillStyle = styleOf("--text");
  context.fillText(label, boxLeft + 6, top + 8);
}

/** The highest scores, each with a bar and its latest SHOWN_S. */
class Tags {
  #list = element("tags");
  #rows = Array.from({ length: N_TAGS }, makeTagRow);
  #history = []; // of Float32Arrays, oldest first
  #held;

  constructor({ labels, thresholds, stepMs }) {
    this.labels = labels;
    this.thresholds = thresholds;
    this.nSteps = Math.round((1000 * SHOWN_S) / stepMs);
    this.#held = new Float32Array(labels.length);
    this.#list.replaceChildren(...this.#rows.map((row) => row.item));
  }

  push(scores) {
    this.#history.push(scores);
    if (this.#history.length > this.nSteps) this.#history.shift();
    scores.forEach((score, i) => {
      this.#held[i] = Math.max(score, HOLD_PER_STEP * this.#held[i]);
    });
  }

  draw() {
    const order = [...this.#held.keys()].sort((a, b) => this.#held[b] - this.#held[a]);
    this.#rows.forEach((row, rank) => {
      const label = order[rank];
      const isShown = label !== undefined && this.#held[label] >= MIN_SHOWN_SCORE;
      row.item.classList.toggle("empty", !isShown);
      if (isShown) this.#drawRow(row, label);
    });
  }

  #drawRow(row, label) {
    const score = this.#history.at(-1)?.[label] ?? 0;
    const on = this.thresholds[label];
    row.name.textContent = this.labels[label];
    row.score.textContent = score.toFixed(2);
    row.fill.style.transform = `scaleX(${score})`;
    row.tick.style.left = `${100 * on}%`;
    row.tick.hidden = on === 0;
    row.item.classList.toggle("loud", on > 0 && score >= on);
    drawHistory(row.history, this.#history.map((scores) => scores[label]), this.nSteps);
  }
}

function makeTagRow() {
  const item = make("li", "tag empty");
  const [name, score] = [make("span", "name"), make("span", "score")];
  const [bar, fill, tick] = [make("div", "bar"), make("i", "fill"), make("i", "tick")];
  const history = make("canvas", "history");
  bar.append(fill, tick);
  item.append(name, score, bar, history);
  return { item, name, score, fill, tick, history };
}

function drawHistory(canvas, scores, nSteps) {
  const { width, height, context } = fitted(canvas);
  context.clearRect(0, 0, width, height);
  if (scores.length === 0) return;
  const toX = (i) => (width * (nSteps - scores.length + i + 1)) / nSteps;
  context.beginPath();
  context.moveTo(toX(0), height);
  scores.forEach((score, i) => context.lineTo(toX(i), height - 1 - (height - 2) * score));
  context.lineTo(width, height);
  context.fillStyle = styleOf("--accent-soft");
  context.fill();
  context.strokeStyle = styleOf("--accent");
  context.lineWidth = 1.5;
  context.beginPath();
  scores.forEach((score, i) => context.lineTo(toX(i), height - 1 - (height - 2) * score));
  context.stroke();
}

/** Events, the newest first; a start and its end are one line. */
class Events {
  #list = element("events");
  #open = new Map(); // label -> span
  spans = []; // {label, startS, endS or null, score, item}, oldest first

  constructor() {
    this.#list.replaceChildren(make("li", "none", "None yet."));
    this.#count();
  }

  push({ kind, label, timeS, score }) {
    if (kind === "start") this.#start(label, timeS, score);
    else this.#end(label, timeS, score);
    this.#count();
  }

  #start(label, startS, score) {
    const item = make("li", "event open");
    item.append(make("time", "", clock(startS)), make("span", "name", label));
    item.append(make("span", "length", "sounding"), make("span", "score", score.toFixed(2)));
    const span = { label, startS, endS: null, item };
    this.#open.set(label, span);
    this.spans.push(span);
    this.#list.querySelector(".none")?.remove();
    this.#list.prepend(item);
    if (this.spans.length > N_EVENTS_KEPT) this.spans.shift().item.remove();
  }

  #end(label, endS, score) {
    const span = this.#open.get(label);
    if (!span) return;
    this.#open.delete(label);
    span.endS = endS;
    span.item.classList.remove("open");
    span.item.querySelector(".length").textContent = `${(endS - span.startS).toFixed(2)} s`;
    span.item.querySelector(".score").textContent = score.toFixed(2);
  }

  #count() {
    element("n-events").textContent = this.#open.size ? `${this.#open.size} sounding` : "";
  }
}

/** The line of figures: time, level, load, losses. */
class Meters {
  #loads = [];

  constructor({ stepMs, nFrames }) {
    this.stepMs = stepMs;
    this.frameMs = stepMs / nFrames;
  }

  push({ rms, busyMs, droppedS }, heardS) {
    const decibels = 20 * Math.log10(Math.max(rms, 1e-5));
    this.#loads.push(busyMs);
    if (this.#loads.length > 50) this.#loads.shift(); // 4 s: clocks of worklets are coarse
    const meanMs = this.#loads.reduce((sum, load) => sum + load, 0) / this.#loads.length;
    element("heard").textContent = clock(heardS);
    element("level").value = decibels;
    element("decibels").textContent = `${decibels.toFixed(0)} dB`;
    element("load").textContent =
      `${meanMs.toFixed(1)} ms of ${this.stepMs.toFixed(0)} (${((100 * meanMs) / this.stepMs).toFixed(0)} %)`;
    element("dropped").textContent = String(Math.round((1000 * droppedS) / this.stepMs));
  }
}

/** Stops of a ramp in hexadecimal -> 256 colours [r, g, b]. */
function rampColours(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (rgb.length - 1);
    const left = Math.min(Math.floor(place), rgb.length - 2);
    return rgb[left].map((value, k) => Math.round(value + (rgb[left + 1][k] - value) * (place - left)));
  });
}

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => darkScheme.matches;
const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

/** A canvas's context with as many pixels as the screen gives it; sizes in CSS pixels. */
function fitted(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height, context };
}

// ---------------------------------------------------------------------------------- the page

/** Everything that one stream shows. */
class View {
  #heardS = 0;
  #isDue = false;

  constructor(ready) {
    this.stepS = ready.stepMs / 1000;
    this.spectrogram = new Spectrogram(ready);
    this.tags = new Tags(ready);
    this.events = new Events();
    this.meters = new Meters(ready);
    const crc = ready.imageCrc32.toString(16).padStart(8, "0");
    element("model").textContent =
      `${ready.labels.length} labels, a score every ${ready.stepMs} ms, model ${crc}`;
  }

  step(step) {
    this.#heardS = step.n * this.stepS;
    this.spectrogram.push(step.logMel);
    this.tags.push(step.scores);
    step.events.forEach((event) => this.events.push(event));
    this.meters.push(step, this.#heardS);
    if (!this.#isDue) requestAnimationFrame(() => this.draw());
    this.#isDue = true;
  }

  draw() {
    this.#isDue = false;
    this.spectrogram.draw(this.events.spans, this.#heardS);
    this.tags.draw();
  }
}

let listening = null;
let view = null;

function say(text) {
  element("message").className = "";
  element("message").textContent = text;
  element("message").hidden = text === "";
}

function setListening(current) {
  listening = current;
  element("listen").textContent = current ? "Stop" : "Listen";
  document.body.classList.toggle("listening", current !== null);
}

/** open: starts a Listening in its own way. */
async function begin(open) {
  listening?.abort();
  say("");
  const ifCurrent = (show) => (posted) => listening === current && show(posted);
  const current = new Listening({
    ready: ifCurrent((ready) => (view = new View(ready))),
    step: ifCurrent((step) => view.step(step)),
    end: ifCurrent(({ events }) => {
      events.forEach((event) => view.events.push(event));
      view.draw();
      setListening(null);
    }),
    error: (text) => fail(current, text),
  });
  setListening(current);
  try {
    checkBrowser();
    await open(current);
  } catch (error) {
    fail(current, error instanceof PageError ? error.message : `This did not work: ${error.message}`);
  }
}

function fail(failed, text) {
  failed.abort();
  if (listening !== failed) return;
  setListening(null);
  say(text);
}

element("listen").onclick = () => {
  if (!listening) return begin((current) => current.microphone());
  if (listening.end()) return undefined;
  listening.abort(); // it still waits for a permission
  return setListening(null);
};
element("file").onchange = ({ target }) => {
  const [file] = target.files;
  target.value = ""; // so that the same file can be opened again
  if (file) begin((current) => current.file(file));
};
darkScheme.onchange = () => view?.spectrogram.setColours();
document.onvisibilitychange = () => listening?.wake();
window.onresize = () => view?.draw();
say("");
