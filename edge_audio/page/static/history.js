// SPDX-License-Identifier: Apache-2.0
// Today and earlier days: a timeline, a list of events, and one of them with its clip.
import { addressOf, get } from "./api.js";
import { EventDetail } from "./detail.js";
import { element, make } from "./drawing.js";
import { EventList } from "./event_list.js";
import { complain, settled } from "./parts.js";
import { countText, dateValue, dayStart, nowS, rangeText } from "./text.js";
import { Timeline } from "./timeline.js";

const PAGE_EVENTS = 1000;
const SETTLE_MS = 200;
const RELOADS_MS = [200, 5000]; // after the end of an event: it has a length, and then a clip
const HOUR_S = 3600;
const DAY_S = 24 * HOUR_S;
const SPANS_S = { hour: HOUR_S, day: DAY_S, week: 7 * DAY_S, month: 30 * DAY_S };
const wide = matchMedia("(min-width: 64rem)");

export class HistoryView {
  #filters = { stream: "", label: "", text: "" };
  #streams = new Set();
  #isShown = false;
  #isStale = true;
  #asked = new AbortController();
  #timeline;
  #list;
  #detail;

  constructor() {
    this.#timeline = new Timeline({
      onRange: () => this.#onRange(),
      onLabel: (label) => this.pick(label),
    });
    this.#detail = new EventDetail({
      onChange: ({ id, feedback }) => this.#list.patch(id, { feedback }),
      onLabel: (label) => this.pick(label),
    });
    this.#list = new EventList(element("events"), {
      load: (beforeId) => this.#loadEvents(beforeId),
      onSelect: (event, isMeant) => this.#show(event, isMeant),
      onLoad: (error) => this.#onLoad(error),
    });
    this.#prepareFields();
    this.#prepareSheet();
    this.refresh = settled(SETTLE_MS, () => this.#refresh());
  }

  setStatus({ can_change: canChange, has_clips: hasClips, history, streams }) {
    this.#detail.canChange = canChange;
    this.#detail.hasClips = hasClips;
    element("history-kept").hidden = history === "file";
    this.#addStreams(streams.map(({ name }) => name));
  }

  /** The view comes into sight. */
  open() {
    this.#isShown = true;
    this.#timeline.draw();
    this.#list.draw();
    this.#loadDays();
    if (this.#isStale) this.refresh();
  }

  close() {
    this.#isShown = false;
  }

  /** Sources to choose from: those of the run, and those that events of other days came from. */
  #addStreams(names) {
    const field = element("stream-filter");
    for (const name of names) {
      if (this.#streams.has(name)) continue;
      this.#streams.add(name);
      const option = make("option", "", name);
      option.value = name;
      field.append(option);
    }
    field.parentElement.hidden = this.#streams.size < 2;
  }

  /** Only this label, or all again if it was picked before. */
  pick(label) {
    this.#filters.label = this.#filters.label === label ? "" : label;
    const chip = element("label-chip");
    chip.hidden = this.#filters.label === "";
    chip.querySelector("span").textContent = this.#filters.label;
    element("sheet").close();
    this.refresh();
  }

  /** A record came: the list grows, and the timeline when it is due. */
  event(record) {
    if (!this.#isWanted(record)) return;
    if (!this.#isShown) return void (this.#isStale = true);
    const { id, label, stream, score, unix_s: unixS } = record;
    const event = { id, label, stream, score, unix_s: unixS, duration_s: null };
    if (record.kind === "start") this.#list.put({ ...event, is_sounding: true, has_clip: false, feedback: null });
    else for (const waitMs of RELOADS_MS) setTimeout(() => this.#reload(id), waitMs);
    this.#recount();
  }

  /** Records may have been missed. */
  catchUp() {
    if (!this.#isShown) return void (this.#isStale = true);
    this.#recount();
    return this.#list.catchUp();
  }

  async #reload(id) {
    const event = await eventOf(id).catch(() => null);
    if (event) this.#list.patch(id, event);
    if (event && this.#detail.event?.id === id) this.#detail.show({ ...this.#detail.event, ...event });
  }

  #isWanted({ stream, label, unix_s: unixS }) {
    const { stream: onlyStream, label: onlyLabel, text } = this.#filters;
    const { fromS, toS } = this.#timeline.range;
    return (
      unixS >= fromS && unixS <= toS &&
      (!onlyStream || stream === onlyStream) &&
      (!onlyLabel || label === onlyLabel) &&
      `${label}\n${stream}`.toLowerCase().includes(text.toLowerCase())
    );
  }

  /** An event that was chosen in another view, above everything. */
  async openSheet(id) {
    try {
      const event = await eventOf(id);
      if (event) this.#show(event, true, true);
    } catch (error) {
      complain(error.message);
    }
  }

  setColours() {
    this.#timeline.draw();
    this.#detail.setColours();
  }

  draw() {
    this.#timeline.draw();
    this.#detail.draw();
  }

  // ------------------------------------------------------------------------------- asking

  #query() {
    const { fromS, toS } = this.#timeline.range;
    const { stream, label } = this.#filters;
    return { from_unix_s: fromS.toFixed(3), to_unix_s: toS.toFixed(3), stream, label };
  }

  async #loadEvents(beforeId) {
    const query = { ...this.#query(), text: this.#filters.text, limit: PAGE_EVENTS, before_id: beforeId };
    const answer = await get("events", query);
    this.#addStreams(answer.events.map(({ stream }) => stream));
    return answer;
  }

  #recount = settled(2000, () => this.#loadTimeline());

  async #refresh() {
    this.#isStale = !this.#isShown;
    if (this.#isStale) return;
    element("csv").href = addressOf("events.csv", { ...this.#query(), text: this.#filters.text });
    await Promise.all([this.#loadTimeline(), this.#list.reset()]);
  }

  async #loadTimeline() {
    this.#asked.abort();
    this.#asked = new AbortController();
    const { fromS } = this.#timeline.range;
    const query = { ...this.#query(), n_buckets: this.#timeline.nBuckets };
    try {
      const answer = await get("timeline", query, this.#asked.signal);
      this.#timeline.show(answer, fromS, this.#filters.text, this.#filters.label);
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) complain(error.message);
    }
    this.#count();
  }

  async #loadDays() {
    const days = await get("days").catch(() => []);
    if (days.length === 0) return;
    const names = days.map(({ day }) => day).sort();
    element("day").min = names[0];
  }

  #onLoad(error) {
    if (error && error.status !== 401) complain(error.message);
    this.#count();
  }

  #count() {
    const n = Math.max(this.#timeline.nEvents, this.#list.n);
    element("events-none").hidden = this.#list.n > 0;
    element("n-events").textContent = n ? countText(n, "event") : "";
  }

  // ------------------------------------------------------------------------------- fields

  #prepareFields() {
    element("search").oninput = ({ target }) => this.#filter("text", target.value.trim());
    element("stream-filter").onchange = ({ target }) => this.#filter("stream", target.value);
    element("label-chip").onclick = () => this.pick(this.#filters.label);
    element("day").onchange = ({ target }) => target.value && this.#goTo(new Date(`${target.value}T00:00`) / 1000);
    for (const [span, lengthS] of Object.entries(SPANS_S))
      element(`span-${span}`).onclick = () => this.#span(lengthS);
    element("zoom-in").onclick = () => this.#timeline.zoom(2);
    element("zoom-out").onclick = () => this.#timeline.zoom(0.5);
    element("earlier").onclick = () => this.#timeline.pan(-1);
    element("later").onclick = () => this.#timeline.pan(1);
    element("today").onclick = () => this.#goTo(dayStart(nowS()));
    this.#sayRange();
  }

  #filter(name, value) {
    this.#filters[name] = value;
    this.refresh();
  }

  #goTo(dayS) {
    this.#timeline.setRange(dayS, dayStart(dayS + 1.2 * DAY_S)); // days may have 23 or 25 hours
  }

  /** The last hour, day... up to what is looked at, or up to now where that is in it. */
  #span(lengthS) {
    if (lengthS === DAY_S) return this.#goTo(dayStart(Math.min(nowS(), this.#timeline.range.toS - 1)));
    const { fromS, toS } = this.#timeline.range;
    const endS = toS >= nowS() && fromS <= nowS() ? nowS() : toS;
    const roundS = lengthS > DAY_S ? dayStart(endS + DAY_S) : endS;
    return this.#timeline.setRange(roundS - lengthS, roundS);
  }

  #onRange() {
    this.#sayRange();
    this.refresh();
  }

  #sayRange() {
    const { fromS, toS } = this.#timeline.range;
    element("range").textContent = rangeText(fromS, toS);
    element("day").value = dateValue((fromS + toS) / 2);
    const rounded = Math.round(toS - fromS);
    for (const [span, lengthS] of Object.entries(SPANS_S))
      element(`span-${span}`).ariaPressed = String(Math.abs(rounded - lengthS) <= HOUR_S && rounded >= lengthS);
  }

  // ------------------------------------------------------------------------------- detail

  #prepareSheet() {
    const sheet = element("sheet");
    element("detail").append(this.#detail.item);
    element("close-sheet").onclick = () => sheet.close();
    sheet.onclick = ({ target }) => target === sheet && sheet.close();
    sheet.onclose = () => {
      element("detail").append(this.#detail.item);
      if (!wide.matches) this.#detail.show(null);
    };
  }

  #show(event, isMeant, isAbove = !wide.matches) {
    if (isAbove && !isMeant) return; // arrow keys on a small screen
    if (isAbove) {
      element("sheet-content").append(this.#detail.item);
      if (!element("sheet").open) element("sheet").showModal();
    }
    this.#detail.show(event);
    if (isMeant) this.#detail.item.querySelector("h2")?.focus();
  }
}

/** One event as the list has it, or undefined. */
const eventOf = (id) =>
  get("events", { before_id: id + 1, limit: 1 }).then(({ events }) => events.find((event) => event.id === id));
