// SPDX-License-Identifier: Apache-2.0
// A list of any number of events, of which only the rows in sight are elements of the page.
import { make, rem, setText } from "./drawing.js";
import { drawn, icon, setIcon } from "./parts.js";
import { isToday, shortDayText, spanText, timeText } from "./text.js";

const ROW_REM = 2.75;
const N_SPARE = 6; // rows above and below those in sight
const N_AHEAD = 400; // more are asked for when so few are left below

export class EventList {
  #root;
  #space = make("div", "rows");
  #rows = []; // elements, each for every #rows.length-th event
  #events = [];
  #load;
  #onSelect;
  #next = null; // what to ask for the next events with; null where there are none
  #turn = 0; // of resets: answers to what was asked before one are thrown away
  #isLoading = false;
  #selectedId = null;

  /** root: a listbox that scrolls. load(beforeId): {events, next_before_id}.
   * onSelect(event, isMeant): a row was chosen; isMeant: by a click or Enter, not in passing. */
  constructor(root, { load, onSelect, onLoad }) {
    this.#root = root;
    this.#load = load;
    this.#onSelect = onSelect;
    this.onLoad = onLoad;
    this.#space.setAttribute("role", "presentation");
    root.replaceChildren(this.#space);
    this.draw = drawn(() => this.#draw());
    root.addEventListener("scroll", this.draw, { passive: true });
    root.addEventListener("keydown", (event) => this.#onKey(event));
    root.addEventListener("click", (event) => this.#onClick(event));
    new ResizeObserver(this.draw).observe(root);
  }

  get n() {
    return this.#events.length;
  }

  get hasMore() {
    return this.#next !== null;
  }

  /** Asks for everything anew, and shows the newest. */
  async reset() {
    const turn = ++this.#turn;
    this.#isLoading = true;
    const answer = await this.#load(null).catch((error) => error);
    if (turn !== this.#turn) return;
    this.#isLoading = false;
    if (answer instanceof Error) return this.onLoad(answer);
    this.#events = answer.events;
    this.#next = answer.next_before_id;
    this.#root.scrollTop = 0;
    this.#redraw();
    this.onLoad(null);
  }

  /** An event that began now, or one that is known with what is new of it. */
  put(event) {
    const index = this.#events.findIndex((known) => known.id === event.id);
    if (index >= 0) Object.assign(this.#events[index], event);
    else {
      this.#events.unshift(event);
      if (this.#root.scrollTop > 0) this.#root.scrollTop += this.#rowPx(); // what is looked at stays
    }
    this.#redraw();
    this.onLoad(null);
  }

  /** Takes in what came while nobody was told, without moving what is looked at. */
  async catchUp() {
    const turn = this.#turn;
    const answer = await this.#load(null).catch(() => null);
    if (turn === this.#turn && answer) answer.events.reverse().forEach((event) => this.put(event));
  }

  patch(id, fields) {
    const known = this.#events.find((event) => event.id === id);
    if (known) Object.assign(known, fields);
    this.#redraw();
  }

  select(id) {
    this.#selectedId = id;
    this.#redraw();
  }

  #rowPx() {
    return Math.round(rem(ROW_REM));
  }

  #redraw() {
    for (const row of this.#rows) row.index = -1;
    this.#draw();
  }

  async #more() {
    if (this.#isLoading || this.#next === null) return;
    const turn = this.#turn;
    this.#isLoading = true;
    const answer = await this.#load(this.#next).catch((error) => error);
    if (turn !== this.#turn) return;
    this.#isLoading = false;
    if (answer instanceof Error) return this.onLoad(answer);
    this.#events.push(...answer.events);
    this.#next = answer.next_before_id;
    this.#redraw();
    this.onLoad(null);
  }

  #draw() {
    const { clientHeight: height, scrollTop } = this.#root;
    if (height === 0) return; // another view is shown
    const rowPx = this.#rowPx();
    this.#space.style.height = `${this.#events.length * rowPx}px`;
    this.#makeRows(Math.ceil(height / rowPx) + 2 * N_SPARE);
    const first = Math.max(0, Math.floor(scrollTop / rowPx) - N_SPARE);
    for (let index = first; index < first + this.#rows.length; index++) this.#drawRow(index, rowPx);
    this.#pointAtSelected();
    if (first + this.#rows.length + N_AHEAD > this.#events.length) this.#more();
  }

  #makeRows(n) {
    if (this.#rows.length >= n) return;
    while (this.#rows.length < n) this.#rows.push(makeRow(this.#rows.length));
    for (const row of this.#rows) row.index = -1;
    this.#space.replaceChildren(...this.#rows.map((row) => row.item));
  }

  #drawRow(index, rowPx) {
    const row = this.#rows[index % this.#rows.length];
    if (row.index === index && row.rowPx === rowPx) return;
    Object.assign(row, { index, rowPx });
    const event = this.#events[index];
    row.item.hidden = event === undefined;
    if (event === undefined) return;
    row.item.style.transform = `translateY(${index * rowPx}px)`;
    row.item.ariaPosInSet = String(index + 1);
    row.item.ariaSetSize = this.hasMore ? "-1" : String(this.#events.length);
    row.item.ariaSelected = String(event.id === this.#selectedId);
    fillRow(row, event);
  }

  #pointAtSelected() {
    const row = this.#rows.find(({ item }) => !item.hidden && item.ariaSelected === "true");
    if (row) this.#root.setAttribute("aria-activedescendant", row.item.id);
    else this.#root.removeAttribute("aria-activedescendant");
  }

  #onClick({ target }) {
    const item = target.closest("[role=option]");
    const row = this.#rows.find((each) => each.item === item);
    if (row) this.#choose(row.index, true);
  }

  #onKey(event) {
    const at = this.#events.findIndex(({ id }) => id === this.#selectedId);
    const nInSight = Math.max(1, Math.floor(this.#root.clientHeight / this.#rowPx()) - 1);
    const last = this.#events.length - 1;
    const places = {
      ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + nInSight, PageUp: at - nInSight,
      Home: 0, End: last, Enter: at, " ": at,
    };
    if (!(event.key in places) || last < 0) return;
    event.preventDefault();
    const isMeant = event.key === "Enter" || event.key === " ";
    this.#choose(Math.max(0, Math.min(last, places[event.key])), isMeant);
  }

  #choose(index, isMeant) {
    const event = this.#events[index];
    this.#selectedId = event.id;
    const rowPx = this.#rowPx();
    const { scrollTop, clientHeight } = this.#root;
    if (index * rowPx < scrollTop) this.#root.scrollTop = index * rowPx;
    if ((index + 1) * rowPx > scrollTop + clientHeight) this.#root.scrollTop = (index + 1) * rowPx - clientHeight;
    this.#redraw();
    this.#onSelect(event, isMeant);
  }
}

function makeRow(number) {
  const item = make("div", "row");
  item.id = `row-${number}`;
  item.setAttribute("role", "option");
  const [time, clock, day] = [make("time"), make("span"), make("small", "day")];
  const [name, stream] = [make("span", "name"), make("small", "stream-name")];
  const [length, score, bar, fill] = [make("span", "length"), make("span", "score"), make("span", "bar"), make("i", "fill")];
  const [mark, clip] = [icon("right"), icon("wave")];
  mark.classList.add("mark");
  clip.classList.add("has-clip");
  bar.append(fill);
  time.append(clock, day);
  item.append(time, name, stream, length, bar, score, clip, mark);
  return { item, clock, day, name, stream, length, score, fill, mark, clip, index: -1 };
}

function fillRow(row, event) {
  const said = saidOf(event);
  setText(row.clock, said.time);
  setText(row.day, said.isToday ? "" : said.day);
  setText(row.name, event.label);
  setText(row.stream, event.stream);
  setText(row.length, event.is_sounding ? "sounding" : said.lasted);
  setText(row.score, event.score.toFixed(2));
  row.fill.style.transform = `scaleX(${event.score})`;
  row.item.classList.toggle("open", event.is_sounding);
  row.clip.classList.toggle("absent", !event.has_clip);
  const verdict = event.feedback?.verdict;
  row.mark.classList.toggle("absent", !verdict);
  row.item.dataset.verdict = verdict ?? "";
  const judged = verdict ? `, marked ${verdict}` : "";
  row.item.ariaLabel = `${event.label}, ${event.stream}, ${said.day} ${said.time}${judged}`;
  if (verdict) setIcon(row.mark, verdict); // icons are called as verdicts are
}

const texts = new WeakMap(); // of events: to write times out is what costs most in scrolling

function saidOf(event) {
  const known = texts.get(event);
  if (known && known.durationS === event.duration_s) return known;
  const { unix_s: unixS, duration_s: durationS } = event;
  const said = { durationS, day: shortDayText(unixS), time: timeText(unixS), isToday: isToday(unixS) };
  said.lasted = durationS === null ? "" : spanText(durationS);
  texts.set(event, said);
  return said;
}
