// SPDX-License-Identifier: Apache-2.0
// What sounded when, as far as days back: a lane for each label, counts above, loudness below.
import { element, fitted, make, rem, sizeOf, styleOf } from "./drawing.js";
import { drawn } from "./parts.js";
import { dayStart, dayText, minuteText, nowS, numberText, rangeText, timeText } from "./text.js";

const MIN_RANGE_S = 60;
const MAX_RANGE_S = 400 * 86400;
const N_LANES = 12; // unless all are asked for
const ZOOM = 2; // by a button or key
const CLICK_ZOOM = 3;
const CLICK_PX = 5; // what moves further is a drag
const LEVEL_RANGE_DBFS = [-70, 0];
const TICK_STEPS_S = [5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];
const NARROW_REM = 42;

/** Rows from above, in rem. */
const HEIGHTS = { axis: 1.5, counts: 3.25, lane: 1.6, narrowLane: 2.4, level: 3.25, gap: 0.5 };

export class Timeline {
  range = { fromS: dayStart(nowS()), toS: dayStart(nowS()) + 86400 };
  #data = null; // what GET timeline gave, and fromS of its first bucket
  #lanes = []; // {label, counts, n, most}, as drawn; most: of a bucket
  #sums = []; // of all lanes, for each bucket
  #picked = ""; // the label that is looked at alone
  #text = ""; // that labels contain
  #showsAll = false;
  #pointers = new Map(); // id -> {x, startX}
  #canvas = element("timeline-canvas");
  #root = element("timeline");
  #names = element("lane-names");
  #usual = element("timeline-reading").textContent;

  /** onRange(): another range is looked at. onLabel(label): a lane's name was pressed. */
  constructor({ onRange, onLabel }) {
    this.onRange = onRange;
    this.onLabel = onLabel;
    this.draw = drawn(() => this.#draw());
    new ResizeObserver(this.draw).observe(this.#root);
    this.#listen();
    element("all-lanes").onclick = () => {
      this.#showsAll = !this.#showsAll;
      this.#arrange();
    };
  }

  get nBuckets() {
    return Math.max(60, Math.min(2000, Math.floor(this.#width() / 3)));
  }

  get nEvents() {
    return total(this.#sums);
  }

  /** answer: of GET timeline from fromS on. text: labels that contain it are shown. */
  show(answer, fromS, text, picked) {
    this.#data = { ...answer, fromS };
    this.#picked = picked;
    this.#text = text.toLowerCase();
    this.#lanes = answer.labels
      .filter(({ label }) => label.toLowerCase().includes(this.#text))
      .map(({ label, counts }) => ({ label, counts, n: total(counts), most: Math.max(...counts) }))
      .filter(({ n }) => n > 0)
      .sort((a, b) => b.n - a.n || a.label.localeCompare(b.label));
    this.#sums = sumsOf(this.#lanes);
    this.#arrange();
  }

  /** Looks at [fromS, toS]. */
  setRange(fromS, toS) {
    const length = Math.max(MIN_RANGE_S, Math.min(MAX_RANGE_S, toS - fromS));
    const middle = (fromS + toS) / 2;
    this.range = { fromS: middle - length / 2, toS: middle + length / 2 };
    this.draw();
    this.onRange();
  }

  zoom(factor, aroundS = (this.range.fromS + this.range.toS) / 2) {
    const { fromS, toS } = this.range;
    const length = (toS - fromS) / factor;
    if (length < MIN_RANGE_S || length > MAX_RANGE_S) return;
    this.setRange(aroundS - (aroundS - fromS) / factor, aroundS + (toS - aroundS) / factor);
  }

  /** share: of the range, to the right if positive. */
  pan(share) {
    const { fromS, toS } = this.range;
    const byS = share * (toS - fromS);
    this.setRange(fromS + byS, toS + byS);
  }

  // ------------------------------------------------------------------------------- places

  #isNarrow() {
    return this.#root.clientWidth < rem(NARROW_REM);
  }

  #shown() {
    return this.#showsAll ? this.#lanes : this.#lanes.slice(0, N_LANES);
  }

  /** Of the plot, which is as wide as the canvas. */
  #width() {
    return Math.max(1, sizeOf(this.#canvas).width);
  }

  #rows() {
    const unit = rem(1);
    const lane = unit * (this.#isNarrow() ? HEIGHTS.narrowLane : HEIGHTS.lane);
    const counts = unit * HEIGHTS.axis;
    const lanes = counts + unit * (HEIGHTS.counts + HEIGHTS.gap);
    const level = lanes + lane * Math.max(1, this.#shown().length) + unit * HEIGHTS.gap;
    return { unit, lane, counts, lanes, level, end: level + unit * HEIGHTS.level };
  }

  #toX(timeS) {
    const { fromS, toS } = this.range;
    return (this.#width() * (timeS - fromS)) / (toS - fromS);
  }

  #toTime(x) {
    const { fromS, toS } = this.range;
    return fromS + ((toS - fromS) * x) / this.#width();
  }

  // ------------------------------------------------------------------------------- names

  #arrange() {
    const buttons = this.#shown().map((lane) => {
      const name = make("button", "lane-name");
      name.type = "button";
      name.append(make("span", "name", lane.label), make("span", "n", numberText(lane.n)));
      name.ariaPressed = String(lane.label === this.#picked);
      name.title = lane.label;
      name.onclick = () => this.onLabel(lane.label);
      const item = make("li");
      item.append(name);
      return item;
    });
    this.#names.replaceChildren(...buttons);
    const nHidden = this.#lanes.length - N_LANES;
    element("all-lanes").hidden = nHidden <= 0;
    element("all-lanes").textContent = this.#showsAll ? "Fewer labels" : `${nHidden} more labels`;
    element("timeline-none").hidden = this.#lanes.length > 0;
    element("timeline-none").textContent = this.#text ? "No label here is called so." : "No events in this time.";
    this.#canvas.ariaLabel = this.#summary();
    this.draw();
  }

  #summary() {
    const { fromS, toS } = this.range;
    const most = this.#lanes.slice(0, 5).map(({ label, n }) => `${label} ${n}`).join(", ");
    return `Timeline of ${rangeText(fromS, toS)}: ${most || "no events"}`;
  }

  // ------------------------------------------------------------------------------- drawing

  #draw() {
    if (this.#root.clientWidth === 0) return; // another view is shown
    const rows = this.#rows();
    this.#root.classList.toggle("narrow", this.#isNarrow());
    this.#canvas.style.height = `${rows.end}px`;
    this.#names.style.top = `${rows.lanes}px`;
    this.#names.style.setProperty("--lane", `${rows.lane}px`);
    const { width, height, context } = fitted(this.#canvas);
    context.clearRect(0, 0, width, height);
    this.#drawAxis(context, rows, width);
    if (!this.#data) return;
    this.#drawCounts(context, rows);
    this.#shown().forEach((lane, index) => this.#drawLane(context, lane, rows, index, width));
    this.#drawLevel(context, rows);
  }

  #drawAxis(context, rows, width) {
    const { fromS, toS } = this.range;
    const leastS = ((toS - fromS) * 5 * rows.unit) / width;
    const stepS = TICK_STEPS_S.find((step) => step >= leastS) ?? TICK_STEPS_S.at(-1);
    context.font = `${0.75 * rows.unit}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (let tickS = firstTick(fromS, stepS); tickS < toS; tickS = nextTick(tickS, stepS)) {
      const x = Math.round(this.#toX(tickS)) + 0.5;
      const isDay = Math.abs(tickS - dayStart(tickS + 1)) < 1;
      context.globalAlpha = isDay ? 0.6 : 1;
      context.fillStyle = styleOf(isDay ? "--edge" : "--line");
      context.fillRect(x - 0.5, rows.counts, 1, rows.end - rows.counts);
      context.globalAlpha = 1;
      const text = isDay ? dayText(tickS + 1) : stepS < 60 ? timeText(tickS) : minuteText(tickS);
      const textWidth = context.measureText(text).width;
      if (x - textWidth / 2 < 0 || x + textWidth / 2 > width) continue;
      context.fillStyle = styleOf(isDay ? "--text" : "--quiet");
      context.fillText(text, x - textWidth / 2, rows.counts / 2);
    }
    const nowX = this.#toX(nowS());
    context.fillStyle = styleOf("--warning");
    if (nowX > 0 && nowX < width) context.fillRect(nowX - 1, rows.counts, 2, rows.end - rows.counts);
  }

  #bucketX(index) {
    const { fromS, bucket_s: bucketS } = this.#data;
    return this.#toX(fromS + index * bucketS);
  }

  #drawCounts(context, rows) {
    const most = Math.max(1, ...this.#sums);
    const bottom = rows.counts + rows.unit * HEIGHTS.counts;
    const barWidth = Math.max(1, this.#bucketX(1) - this.#bucketX(0) - 0.5);
    context.fillStyle = styleOf("--quiet");
    this.#sums.forEach((sum, index) => {
      const height = (rows.unit * (HEIGHTS.counts - 0.4) * sum) / most;
      if (sum > 0) context.fillRect(this.#bucketX(index), bottom - height, barWidth, height);
    });
    context.fillStyle = styleOf("--line");
    context.fillRect(0, bottom, this.#width(), 1);
  }

  #drawLane(context, { counts, label, most }, rows, index, width) {
    const top = rows.lanes + index * rows.lane;
    const isNarrow = this.#isNarrow();
    const markTop = top + (isNarrow ? 1.35 : 0.3) * rows.unit;
    const markHeight = rows.lane - (isNarrow ? 1.6 : 0.6) * rows.unit;
    context.fillStyle = styleOf("--line");
    context.globalAlpha = 0.5;
    context.fillRect(0, markTop + markHeight / 2, width, 1);
    const markWidth = Math.max(2, this.#bucketX(1) - this.#bucketX(0));
    context.fillStyle = styleOf("--accent");
    counts.forEach((count, bucket) => {
      if (count === 0) return;
      context.globalAlpha = most > 1 ? 0.45 + 0.55 * Math.sqrt(count / most) : 1;
      context.fillRect(this.#bucketX(bucket), markTop, markWidth, markHeight);
    });
    context.globalAlpha = 1;
    if (label === this.#picked) context.strokeRect(0.5, markTop - 1.5, width - 1, markHeight + 3);
  }

  #drawLevel(context, rows) {
    const [low, high] = LEVEL_RANGE_DBFS;
    const height = rows.unit * HEIGHTS.level;
    const toY = (dbfs) => rows.level + height * (1 - (Math.max(low, Math.min(high, dbfs)) - low) / (high - low));
    context.fillStyle = styleOf("--line");
    context.fillRect(0, rows.end - 1, this.#width(), 1);
    context.strokeStyle = styleOf("--warning");
    context.lineWidth = 1.5;
    context.beginPath();
    let isOpen = false;
    this.#data.level_dbfs.forEach((level, index) => {
      if (level !== null) context[isOpen ? "lineTo" : "moveTo"](this.#bucketX(index + 0.5), toY(level));
      isOpen = level !== null;
    });
    context.stroke();
  }

  // ------------------------------------------------------------------------------- pointing

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    canvas.addEventListener("pointerup", (event) => this.#onUp(event));
    for (const name of ["pointercancel", "pointerleave"])
      canvas.addEventListener(name, ({ pointerId }) => {
        this.#pointers.delete(pointerId);
        this.#read(null);
      });
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    element("history").addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onDown({ pointerId, offsetX }) {
    this.#canvas.setPointerCapture(pointerId);
    this.#pointers.set(pointerId, { x: offsetX, startX: offsetX });
  }

  #onMove({ pointerId, offsetX, offsetY }) {
    const pointer = this.#pointers.get(pointerId);
    if (!pointer) return this.#read(offsetX, offsetY);
    const other = [...this.#pointers.values()].find((each) => each !== pointer);
    if (other) this.#pinch(pointer.x, offsetX, other.x);
    else if (Math.abs(offsetX - pointer.startX) > CLICK_PX || pointer.isDrag) {
      pointer.isDrag = true;
      this.pan((pointer.x - offsetX) / this.#width());
    } else return undefined;
    pointer.x = offsetX;
    return undefined;
  }

  #pinch(before, after, still) {
    const factor = Math.abs(after - still) / Math.max(8, Math.abs(before - still));
    if (factor > 0.1) this.zoom(factor, this.#toTime(still));
  }

  #onUp({ pointerId, offsetX, pointerType }) {
    const pointer = this.#pointers.get(pointerId);
    this.#pointers.delete(pointerId);
    const isClick = pointer && !pointer.isDrag && this.#pointers.size === 0;
    if (isClick && pointerType === "mouse") this.zoom(CLICK_ZOOM, this.#toTime(offsetX));
  }

  #onWheel(event) {
    const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY / 200), this.#toTime(event.offsetX));
    else if (isSideways) this.pan((event.deltaX || event.deltaY) / this.#width());
    else return;
    event.preventDefault();
  }

  #onKey(event) {
    if (event.target.closest("input, select, dialog, [role=listbox], [role=slider]")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {
      ArrowLeft: () => this.pan(-0.25),
      ArrowRight: () => this.pan(0.25),
      "+": () => this.zoom(ZOOM),
      "=": () => this.zoom(ZOOM),
      "-": () => this.zoom(1 / ZOOM),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }

  /** Says what lies under the pointer. */
  #read(x, y) {
    const line = element("timeline-reading");
    if (x === null || !this.#data) return (line.textContent = this.#usual);
    const bucket = Math.floor((this.#toTime(x) - this.#data.fromS) / this.#data.bucket_s);
    const rows = this.#rows();
    const lane = this.#shown()[Math.floor((y - rows.lanes) / rows.lane)];
    const fromS = this.#data.fromS + bucket * this.#data.bucket_s;
    const parts = [`${dayText(fromS)}, ${timeText(fromS)} to ${timeText(fromS + this.#data.bucket_s)}`];
    const counted = lane ? lane.counts[bucket] : this.#sums[bucket];
    parts.push(`${lane?.label ?? "all labels"}: ${counted ?? 0}`);
    const level = this.#data.level_dbfs[bucket];
    if (typeof level === "number") parts.push(`${level.toFixed(0)} dBFS`);
    return (line.textContent = parts.join(" · "));
  }
}

const total = (counts) => counts.reduce((sum, count) => sum + count, 0);

function sumsOf(lanes) {
  const sums = [];
  for (const { counts } of lanes)
    counts.forEach((count, index) => (sums[index] = (sums[index] ?? 0) + count));
  return sums;
}

/** Ticks of hours and days stand where they do on clocks, also where those are put forward. */
function firstTick(fromS, stepS) {
  const midnightS = dayStart(fromS);
  if (stepS >= 86400) return midnightS;
  return midnightS + Math.ceil((fromS - midnightS) / stepS) * stepS;
}

function nextTick(tickS, stepS) {
  const nextS = tickS + stepS;
  if (stepS >= 86400) return dayStart(nextS + 7200);
  const midnightS = dayStart(nextS);
  return midnightS > tickS ? midnightS : nextS;
}
