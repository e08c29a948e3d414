// SPDX-License-Identifier: Apache-2.0
// What this page alone shows of a stream: events and meters.
import { clock, element, make } from "./drawing.js";

const N_EVENTS_KEPT = 200;

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

  /** Ends those of labels that are off from now on: the engine says no more of them. */
  keepOnly(isOn, nowS) {
    for (const [label, { score }] of [...this.#open])
      if (!isOn(label)) this.#end(label, nowS, score);
    this.#count();
  }

  #start(label, startS, score) {
    const item = make("li", "event open");
    item.append(make("time", "", clock(startS)), make("span", "name", label));
    item.append(make("span", "length", "sounding"), make("span", "score", score.toFixed(2)));
    const span = { label, startS, endS: null, score, item };
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
