// SPDX-License-Identifier: Apache-2.0
// Every label: on or off, its threshold, and the false alarms that this brings.
import { get, send } from "./api.js";
import { element, make } from "./drawing.js";
import { complain, settled } from "./parts.js";
import { alarmsText, countText } from "./text.js";

const [LOWEST, HIGHEST, STEP] = [0.01, 0.99, 0.01];

/** What a threshold brings, between those that were measured: {about, alarms_per_hour, recall}.
 * curve: [{threshold, alarms_per_hour, recall}], ascending. Beyond its ends is known what it is
 * more or less than. */
function between(curve, threshold) {
  const points = curve.filter((point) => point.alarms_per_hour !== null);
  if (points.length === 0) return { alarms_per_hour: null, recall: null };
  const right = points.findIndex((point) => point.threshold >= threshold - STEP / 2);
  if (right < 0) return { about: "under", alarms_per_hour: points.at(-1).alarms_per_hour, recall: null };
  const [a, b] = [points[right - 1] ?? points[right], points[right]];
  if (Math.abs(b.threshold - threshold) <= STEP / 2) return { about: "about", ...b };
  if (a === b) return { about: "over", alarms_per_hour: b.alarms_per_hour, recall: null };
  const share = (threshold - a.threshold) / (b.threshold - a.threshold);
  const rate = (point) => Math.log(Math.max(point.alarms_per_hour, 1e-4)); // falls so, mostly
  return {
    about: "about",
    alarms_per_hour: Math.exp(rate(a) + share * (rate(b) - rate(a))),
    recall: a.recall === null || b.recall === null ? null : a.recall + share * (b.recall - a.recall),
  };
}

const isChanged = (label) =>
  label.threshold !== null && label.normal_threshold !== null &&
  Math.abs(label.threshold - label.normal_threshold) > STEP / 2;

const SHOWN = { on: (label) => label.is_on, off: (label) => !label.is_on, changed: isChanged, all: () => true };

/** The row of one label. */
class LabelRow {
  #parts = {};
  #curve = null; // asked for when a slider is touched

  constructor(label) {
    this.label = label;
    this.item = make("li", "label-row");
    this.#make();
    this.update(label);
  }

  #make() {
    const { label: name, parents } = this.label;
    const toggle = make("button", "switch");
    toggle.type = "button";
    toggle.setAttribute("role", "switch");
    toggle.ariaLabel = `Report ${name}`;
    toggle.onclick = () => this.#change({ is_on: !this.label.is_on });
    const title = make("div", "label-name");
    title.append(make("span", "name", name), make("small", "", parents.join(", ")));
    const slider = make("input");
    Object.assign(slider, { type: "range", min: LOWEST, max: HIGHEST, step: STEP, ariaLabel: `Threshold of ${name}` });
    slider.oninput = () => this.#preview(Number(slider.value));
    slider.onchange = () => this.#change({ threshold: Number(slider.value) });
    for (const name of ["pointerdown", "focus"]) slider.addEventListener(name, () => this.#loadCurve());
    const track = make("div", "track");
    const tick = make("i", "normal");
    track.append(slider, tick);
    const value = make("output", "value");
    const normal = make("button", "quiet normal-again", "Normal");
    normal.type = "button";
    normal.ariaLabel = `Normal threshold of ${name}`;
    normal.onclick = () => this.#change({ threshold: null });
    const effect = make("p", "effect");
    this.#parts = { toggle, slider, tick, value, normal, effect };
    this.item.append(toggle, title, track, value, normal, effect);
  }

  update(label) {
    this.label = label;
    const { toggle, slider, tick, normal } = this.#parts;
    toggle.ariaChecked = String(label.is_on);
    this.item.classList.toggle("off", !label.is_on);
    slider.value = String(label.threshold ?? 0.5);
    tick.hidden = label.normal_threshold === null;
    tick.style.setProperty("--at", String(((label.normal_threshold ?? 0) - LOWEST) / (HIGHEST - LOWEST)));
    normal.hidden = !isChanged(label);
    this.#say(label.threshold, label);
    if (label.is_on && label.alarms_per_hour === null) this.#estimate();
  }

  /** Of a threshold that nobody measured. */
  async #estimate() {
    await this.#loadCurve();
    if (this.label.is_on) this.#preview(this.label.threshold);
  }

  set canChange(canChange) {
    for (const part of this.item.querySelectorAll("button, input")) part.disabled = !canChange;
  }

  #say(threshold, { about, alarms_per_hour: alarmsPerHour, recall }) {
    const { value, effect, slider } = this.#parts;
    value.textContent = threshold === null || threshold === undefined ? "–" : threshold.toFixed(2);
    const found = typeof recall === "number" ? ` · finds ${Math.round(100 * recall)} %` : "";
    const text = this.label.reason && !this.label.is_on ? this.label.reason : alarmsText(alarmsPerHour, about) + found;
    effect.textContent = text;
    slider.ariaValueText = `${value.textContent}, ${text}`;
  }

  #preview(threshold) {
    this.#say(threshold, between(this.#curve ?? [], threshold));
  }

  async #loadCurve() {
    if (this.#curve !== null) return;
    const answer = await get(`labels/${encodeURIComponent(this.label.label)}`).catch(() => ({ curve: [] }));
    this.#curve = answer.curve ?? [];
  }

  async #change(wanted) {
    const path = `labels/${encodeURIComponent(this.label.label)}`;
    try {
      const answer = await send("PUT", path, wanted);
      this.onChange(answer?.label ? answer : await get(path));
    } catch (error) {
      complain(error.message);
      this.update(this.label);
    }
  }
}

export class LabelsView {
  #rows = new Map();
  #text = "";
  #shown = "on";
  #canChange = true;

  /** onChange(labels): one of them was changed here. */
  constructor(onChange) {
    this.onChange = onChange;
    element("label-search").oninput = settled(80, ({ target }) => {
      this.#text = target.value.trim().toLowerCase();
      this.#filter();
    });
    for (const name of Object.keys(SHOWN))
      element(`labels-${name}`).onclick = () => {
        this.#shown = name;
        this.#filter();
      };
  }

  set canChange(canChange) {
    this.#canChange = canChange;
    element("labels-fixed").hidden = canChange;
    for (const row of this.#rows.values()) row.canChange = canChange;
  }

  setLabels(labels) {
    for (const label of labels) {
      const row = this.#rows.get(label.label);
      if (row) row.update(label);
      else this.#add(label);
    }
    this.#filter();
  }

  #add(label) {
    const row = new LabelRow(label);
    row.canChange = this.#canChange;
    row.onChange = (changed) => {
      row.update(changed);
      this.onChange([...this.#rows.values()].map((each) => each.label));
    };
    this.#rows.set(label.label, row);
    element("label-rows").append(row.item);
  }

  /** Shows one label alone, such as by a link. */
  find(name) {
    element("label-search").value = name;
    this.#text = name.toLowerCase();
    this.#shown = "all";
    this.#filter();
  }

  #filter() {
    let n = 0;
    for (const row of this.#rows.values()) {
      const isShown = SHOWN[this.#shown](row.label) && row.label.label.toLowerCase().includes(this.#text);
      row.item.hidden = !isShown;
      n += isShown;
    }
    element("n-labels").textContent = countText(n, "label");
    element("labels-none").hidden = n > 0;
    for (const name of Object.keys(SHOWN)) element(`labels-${name}`).ariaPressed = String(name === this.#shown);
  }
}
