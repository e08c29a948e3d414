// SPDX-License-Identifier: Apache-2.0
// What each source hears now, and the latest events.
import { element, make, setText, Spectrogram, Tags } from "./drawing.js";
import { drawn, speak } from "./parts.js";
import { countText, dayText, isToday, spanText, timeText } from "./text.js";

const STEP_MS = 80; // of frames, at most 12.5 of which come in a second
export const N_RECENT = 30; // events that are listed
const SPANS_FOR_S = 15; // spans that ended before are out of sight
const N_LATE = 10; // frames: fewer may still be on their way, more were lost
const LOWEST_DBFS = -70;

const levelsOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** The card of one source. */
class StreamCard {
  spans = []; // {label, startS, endS or null}
  #heardS = 0;
  #shownS = 0; // where the spectrogram ends
  #spectrogram = null;
  #tags;
  #parts;
  #isSeen;

  /** isSeen(): whether there is any use in drawing. */
  constructor(name, thresholdOf, isSeen) {
    this.#isSeen = isSeen;
    this.#parts = makeCard(name);
    this.item = this.#parts.item;
    this.#tags = new Tags(this.#parts.tags, { stepMs: STEP_MS, thresholdOf });
    this.draw = drawn(() => this.#draw());
  }

  frame(frame) {
    const { time_s: timeS, level_dbfs: levelDbfs, top, mel } = frame;
    if (timeS < this.#heardS) this.#startAnew();
    this.#parts.canvas.hidden = levelDbfs === null; // a device keeps its audio to itself
    if (mel) this.#pushMel(levelsOf(mel), frame);
    this.#heardS = timeS;
    this.#tags.push(top);
    this.setLevel(levelDbfs);
    this.draw();
  }

  #startAnew() {
    this.spans = [];
    this.#spectrogram = null;
  }

  /** Frames lie where their time is, whether those before them came or not. */
  #pushMel(levels, { time_s: timeS, n_bands: nMels, column_s: frameS }) {
    if (this.#spectrogram === null) {
      this.#spectrogram = new Spectrogram(this.#parts.canvas, { frameS, nMels });
      this.#shownS = timeS;
    } else this.#shownS += (frameS * levels.length) / nMels;
    const nMissing = Math.floor((timeS - this.#shownS) / frameS);
    if (nMissing >= N_LATE) {
      this.#spectrogram.skip(nMissing);
      this.#shownS += nMissing * frameS;
    }
    this.#spectrogram.push(levels);
  }

  setLevel(levelDbfs) {
    const shown = Math.max(LOWEST_DBFS, levelDbfs ?? LOWEST_DBFS);
    this.#parts.meter.value = shown;
    this.#parts.level.textContent = levelDbfs === null ? "–" : `${shown.toFixed(0)} dB`;
  }

  setState({ is_live: isLive, problem, lost_s: lostS }, isPaused) {
    const text = problem || (isPaused ? "paused" : isLive ? "listening" : "a recording");
    const { state, lost, item } = this.#parts;
    setText(state, text);
    state.classList.toggle("news", Boolean(problem) || isPaused);
    item.classList.toggle("problem", Boolean(problem));
    item.classList.toggle("still", isPaused);
    lost.textContent = lostS > 0 ? `${spanText(lostS)} of audio lost` : "";
  }

  event({ kind, label, time_s: timeS }) {
    if (kind === "start") this.spans.push({ label, startS: timeS, endS: null });
    const open = this.spans.find((span) => span.label === label && span.endS === null);
    if (kind === "end" && open) open.endS = timeS;
    this.spans = this.spans.filter(({ endS }) => endS === null || endS > this.#heardS - SPANS_FOR_S);
    const sounding = this.spans.filter((span) => span.endS === null).map((span) => span.label);
    this.#parts.canvas.ariaLabel =
      `Spectrogram of the last 10 seconds${sounding.length ? `; sounding: ${sounding.join(", ")}` : ""}`;
    this.draw();
  }

  setColours() {
    this.#spectrogram?.setColours();
  }

  #draw() {
    if (!this.#isSeen()) return;
    this.#spectrogram?.draw(this.spans, this.#heardS);
    this.#tags.draw();
  }
}

function makeCard(name) {
  const item = make("article", "panel stream");
  const head = make("header", "stream-head");
  const title = make("h2", "", name);
  item.setAttribute("aria-label", name);
  const [state, lost, level] = [make("span", "stream-state"), make("span", "lost"), make("span", "decibels", "–")];
  const meter = make("meter");
  Object.assign(meter, { min: LOWEST_DBFS, max: 0, low: -60, high: -3, optimum: -20, value: LOWEST_DBFS });
  meter.ariaLabel = `Level of ${name}`;
  const canvas = make("canvas", "strip");
  canvas.setAttribute("role", "img");
  canvas.ariaLabel = "Spectrogram of the last 10 seconds";
  const tags = make("ol", "tags");
  tags.setAttribute("aria-label", `Highest scores of ${name}`);
  head.append(title, state, lost, meter, level);
  item.append(head, canvas, tags);
  return { item, state, lost, level, meter, canvas, tags };
}

/** The latest events, the newest first; a start and its end are one line. */
class Recent {
  #list = element("recent");
  #rows = new Map(); // id -> {item, length, score, isOpen}
  #withStream;

  constructor(onOpen, withStream) {
    this.onOpen = onOpen;
    this.#withStream = withStream;
    this.#list.replaceChildren();
  }

  get nOpen() {
    return [...this.#rows.values()].filter((row) => row.isOpen).length;
  }

  /** events: as GET events has them, the newest first. */
  fill(events) {
    this.#rows.clear();
    this.#list.replaceChildren();
    for (const event of [...events].reverse()) this.#add(event);
    this.#count();
  }

  push(record) {
    if (record.kind === "start") this.#start(record);
    if (record.kind === "end") this.#end(record);
    this.#count();
  }

  #start({ id, label, stream, score, unix_s: unixS }) {
    this.#add({ id, label, stream, score, unix_s: unixS, duration_s: null, is_sounding: true });
  }

  #end({ id, score, duration_s: durationS }) {
    const row = this.#rows.get(id);
    if (!row) return;
    row.isOpen = false;
    row.item.classList.remove("open");
    row.length.textContent = typeof durationS === "number" ? spanText(durationS) : "";
    row.score.textContent = score.toFixed(2);
  }

  #add(event) {
    const item = make("li");
    const isOpen = event.is_sounding;
    const open = make("button", isOpen ? "event open" : "event");
    open.dataset.id = event.id;
    open.type = "button";
    const time = make("time", "", isToday(event.unix_s) ? timeText(event.unix_s) : dayText(event.unix_s));
    time.dateTime = new Date(1000 * event.unix_s).toISOString();
    const name = make("span", "name", event.label);
    if (this.#withStream()) name.append(make("small", "", event.stream));
    const lasted = event.duration_s === null ? "" : spanText(event.duration_s);
    const length = make("span", "length", isOpen ? "sounding" : lasted);
    const score = make("span", "score", event.score.toFixed(2));
    open.append(time, name, length, score);
    open.onclick = () => this.onOpen(event.id);
    item.append(open);
    this.#list.prepend(item);
    this.#rows.set(event.id, { item: open, length, score, isOpen });
    if (this.#rows.size > N_RECENT) this.#drop();
  }

  #drop() {
    this.#rows.delete(this.#rows.keys().next().value);
    this.#list.lastElementChild.remove();
  }

  #count() {
    element("recent-none").hidden = this.#rows.size > 0;
    element("n-sounding").textContent = this.nOpen ? `${this.nOpen} sounding` : "";
  }
}

/** The view of what is heard now. */
export class LiveView {
  isShown = false;
  #cards = new Map();
  #thresholds = new Map();
  #recent;

  /** onOpen(id): an event was chosen. */
  constructor(onOpen) {
    this.#recent = new Recent(onOpen, () => this.#cards.size > 1);
  }

  setLabels(labels) {
    this.#thresholds = new Map(labels.map((label) => [label.label, label.is_on ? label.threshold : 0]));
  }

  setStatus({ streams, is_paused: isPaused }) {
    for (const stream of streams) {
      const card = this.#card(stream.name);
      card.setState(stream, isPaused);
      if (stream.problem) card.setLevel(stream.level_dbfs);
    }
    for (const [name, card] of this.#cards)
      if (!streams.some((stream) => stream.name === name)) {
        card.item.remove();
        this.#cards.delete(name);
      }
    element("streams").dataset.count = String(this.#cards.size);
    element("streams-summary").textContent = countText(this.#cards.size, "source");
  }

  fill(events) {
    this.#recent.fill(events);
  }

  frame(frame) {
    this.#card(frame.stream).frame(frame);
  }

  event(record) {
    this.#card(record.stream).event(record);
    this.#recent.push(record);
    if (record.kind === "start") speak(this.#cards.size > 1 ? `${record.label}, ${record.stream}` : record.label);
  }

  /** Drawn anew: after another size or another scheme of colours. */
  draw() {
    for (const card of this.#cards.values()) card.draw();
  }

  setColours() {
    for (const card of this.#cards.values()) card.setColours();
    this.draw();
  }

  #card(name) {
    if (!this.#cards.has(name)) {
      const card = new StreamCard(name, (label) => this.#thresholds.get(label) ?? 0, () => this.isShown);
      this.#cards.set(name, card);
      element("streams").append(card.item);
    }
    return this.#cards.get(name);
  }
}
