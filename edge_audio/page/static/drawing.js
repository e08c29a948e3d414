// SPDX-License-Identifier: Apache-2.0
// What all pages that show a stream draw alike: its spectrogram with events, its highest scores.
// The page of a listener and the page of the WebAssembly target have it.

const SHOWN_S = 10;
const N_LANES = 5; // of events over the spectrogram
const HOLD_PER_STEP = 0.97; // of the ranks: a tag stays for seconds after its sound
const MIN_SHOWN_SCORE = 0.02;

const RAMPS = {
  dark: ["#0d1117", "#1f1b4d", "#5b2a86", "#b13d7c", "#ee7752", "#fcc96b", "#fffbe0"],
  light: ["#ffffff", "#e3ecf5", "#b3cde3", "#74a3cf", "#3a6fa8", "#1d3f72", "#0a1a38"],
};
const LOG_MEL_RANGE = [-1.6, 2.4]; // what the ramp spans, in standard deviations

export const element = (id) => document.getElementById(id);

/** A new element with a class and a text, which is never read as markup. */
export function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

/** Seconds as m:ss.ss, or h:mm:ss.ss from an hour on. */
export function clock(timeS) {
  const centiseconds = Math.round(timeS * 100);
  const hours = Math.floor(centiseconds / 360000);
  const minutes = Math.floor(centiseconds / 6000) % 60;
  const seconds = ((centiseconds % 6000) / 100).toFixed(2).padStart(5, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

// ----------------------------------------------------------------------------------- colours

export const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const found = new Map(); // colours of the style sheet, and ramps, of the present scheme
darkScheme.addEventListener("change", () => found.clear());

const remembered = (name, compute) => {
  if (!found.has(name)) found.set(name, compute());
  return found.get(name);
};

/** The value of a custom property, such as "--accent". */
export const styleOf = (name) =>
  remembered(name, () => getComputedStyle(document.documentElement).getPropertyValue(name));

/** 256 pixels, from silence to loud. */
const ramp = () =>
  remembered("ramp", () => rampPixels(RAMPS[darkScheme.matches ? "dark" : "light"]));

/** Stops in hexadecimal -> Uint32Array(256) of RGBA as ImageData has it in memory. */
function rampPixels(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (rgb.length - 1);
    const left = Math.min(Math.floor(place), rgb.length - 2);
    rgb[left].forEach((value, k) => {
      bytes[4 * i + k] = value + (rgb[left + 1][k] - value) * (place - left);
    });
    bytes[4 * i + 3] = 255;
  }
  return new Uint32Array(bytes.buffer);
}

/** Levels [nColumns * nMels], column by column and low tones first, as an image. */
export function levelImage(levels, nMels) {
  const nColumns = levels.length / nMels;
  const image = new ImageData(nColumns, nMels);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = ramp();
  for (let column = 0; column < nColumns; column++)
    for (let band = 0; band < nMels; band++)
      pixels[(nMels - 1 - band) * nColumns + column] = colours[levels[column * nMels + band]];
  return image;
}

/** Log-mel frames, normalised as the model takes them, to levels of 0 to 255. */
export function toLevels(logMel) {
  const [low, high] = LOG_MEL_RANGE;
  return Uint8ClampedArray.from(logMel, (value) => (255 * (value - low)) / (high - low));
}

const sizes = new WeakMap(); // canvas -> {width, height}: to ask for them at every frame costs a layout
const resizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) sizes.set(target, contentRect);
});

/** Of a canvas, in CSS pixels. */
export function sizeOf(canvas) {
  if (!sizes.has(canvas)) {
    sizes.set(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    resizes.observe(canvas);
  }
  return sizes.get(canvas);
}

/** A canvas's context with as many pixels as the screen gives it; sizes in CSS pixels. */
export function fitted(canvas) {
  const { width, height } = sizeOf(canvas);
  const ratio = window.devicePixelRatio;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height, context };
}

/** CSS pixels of a length in rem. */
export const rem = (length) => length * remembered("rem", () => parseFloat(getComputedStyle(document.documentElement).fontSize));
addEventListener("resize", () => found.delete("rem"));

// ------------------------------------------------------------------------------- spectrogram

/** The latest SHOWN_S of log-mel frames, and the events in them as bars. */
export class Spectrogram {
  #canvas;
  #frames = document.createElement("canvas"); // one pixel per frame and band, used as a ring
  #nColumns = 0;

  /** frameS: from one frame to the next. */
  constructor(canvas, { frameS, nMels }) {
    this.#canvas = canvas;
    this.nMels = nMels;
    this.#frames.width = Math.round(SHOWN_S / frameS);
    this.#frames.height = nMels;
    this.setColours();
  }

  setColours() {
    this.skip(this.#frames.width);
  }

  /** Silence in place of frames that never came. */
  skip(nFrames) {
    this.push(new Uint8Array(Math.min(nFrames, this.#frames.width) * this.nMels));
  }

  /** levels: Uint8Array [n * nMels] of the newest frames. */
  push(levels) {
    const image = levelImage(levels, this.nMels);
    const context = this.#frames.getContext("2d");
    const column = this.#nColumns % this.#frames.width;
    context.putImageData(image, column, 0);
    if (column + image.width > this.#frames.width)
      context.putImageData(image, column - this.#frames.width, 0);
    this.#nColumns += image.width;
  }

  /** spans: [{label, startS, endS or null}], of which those in sight are drawn. */
  draw(spans, nowS) {
    const { width, height, context } = fitted(this.#canvas);
    const { width: total, height: nMels } = this.#frames;
    const split = this.#nColumns % total; // the oldest column
    const scale = width / total;
    context.imageSmoothingEnabled = true;
    context.drawImage(this.#frames, split, 0, total - split, nMels, 0, 0, (total - split) * scale, height);
    if (split > 0)
      context.drawImage(this.#frames, 0, 0, split, nMels, (total - split) * scale, 0, split * scale, height);
    drawSpans(context, spans, nowS, width, height);
  }
}

function drawSpans(context, spans, nowS, width, height) {
  const unit = rem(1);
  const toX = (timeS) => width * (1 - (nowS - timeS) / SHOWN_S);
  const laneEnds = [];
  context.font = `600 ${0.75 * unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const { label, startS, endS } of spans) {
    const left = Math.max(0, toX(startS));
    const right = Math.min(width, toX(endS ?? nowS));
    if (right <= 0) continue;
    const textWidth = context.measureText(label).width + 0.75 * unit;
    const boxLeft = Math.min(left, width - textWidth); // of what began just now
    const boxRight = Math.max(right, boxLeft + textWidth);
    let lane = laneEnds.findIndex((end) => end <= boxLeft);
    if (lane < 0) lane = laneEnds.length;
    laneEnds[lane] = boxRight + 2;
    const top = height - 1.25 * unit * (lane + 1);
    if (lane < N_LANES) drawSpan(context, { label, unit, top, left, right, boxLeft, boxRight });
  }
}

function drawSpan(context, { label, unit, top, left, right, boxLeft, boxRight }) {
  context.fillStyle = styleOf("--veil");
  context.fillRect(boxLeft, top, boxRight - boxLeft, 1.125 * unit);
  context.fillStyle = styleOf("--accent");
  context.fillRect(left, top + 0.9375 * unit, Math.max(right - left, 2), 0.1875 * unit);
  context.fillStyle = styleOf("--text");
  context.fillText(label, boxLeft + 0.375 * unit, top + 0.5 * unit);
}

// -------------------------------------------------------------------------------------- tags

/** The highest scores, each with a bar and its latest SHOWN_S. */
export class Tags {
  #rows;
  #thresholdOf;
  #nSteps;
  #tracks = new Map(); // label -> {held, history of the latest #nSteps scores, oldest first}

  /** list: the element that they are shown in. thresholdOf(label): 0 where it is off. */
  constructor(list, { nTags = 8, stepMs, thresholdOf }) {
    this.#rows = Array.from({ length: nTags }, makeTagRow);
    this.#thresholdOf = thresholdOf;
    this.#nSteps = Math.round((1000 * SHOWN_S) / stepMs);
    list.replaceChildren(...this.#rows.map((row) => row.item));
  }

  /** scores: [label, score] of one step; those that it does not name count as 0. */
  push(scores) {
    const step = new Map(scores);
    for (const [label, score] of step)
      if (score >= MIN_SHOWN_SCORE && !this.#tracks.has(label))
        this.#tracks.set(label, { held: 0, history: [] });
    for (const [label, track] of this.#tracks) {
      const score = step.get(label) ?? 0;
      track.held = Math.max(score, HOLD_PER_STEP * track.held);
      track.history.push(score);
      if (track.history.length > this.#nSteps) track.history.shift();
      if (track.held < MIN_SHOWN_SCORE) this.#tracks.delete(label);
    }
  }

  draw() {
    const order = [...this.#tracks].sort((a, b) => b[1].held - a[1].held);
    this.#rows.forEach((row, rank) => {
      row.item.classList.toggle("empty", rank >= order.length);
      if (rank < order.length) this.#drawRow(row, ...order[rank]);
    });
  }

  #drawRow(row, label, { history }) {
    const score = history.at(-1) ?? 0;
    const on = this.#thresholdOf(label);
    setText(row.name, label);
    setText(row.score, score.toFixed(2));
    row.fill.style.transform = `scaleX(${score})`;
    row.tick.style.left = `${100 * on}%`;
    row.tick.hidden = on === 0;
    row.item.classList.toggle("loud", on > 0 && score >= on);
    drawHistory(row.history, history, this.#nSteps);
  }
}

/** Another text, where it is another. */
export function setText(part, text) {
  if (part.textContent !== text) part.textContent = text;
}

function makeTagRow() {
  const item = make("li", "tag empty");
  const [name, score] = [make("span", "name"), make("span", "score")];
  const [bar, fill, tick] = [make("div", "bar"), make("i", "fill"), make("i", "tick")];
  const history = make("canvas", "history");
  history.ariaHidden = "true";
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
