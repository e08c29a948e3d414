// SPDX-License-Identifier: Apache-2.0
// What the page draws of a stream: spectrogram, tags, events, meters.

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

export const element = (id) => document.getElementById(id);

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

/** The latest SHOWN_S of log-mel frames, and the events in them as bars. */
export class Spectrogram {
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
export class Tags {
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
export class Events {
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
export class Meters {
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

export const darkScheme = matchMedia("(prefers-color-scheme: dark)");
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
