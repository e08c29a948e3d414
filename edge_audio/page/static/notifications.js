// SPDX-License-Identifier: Apache-2.0
// Who is notified of which labels, and when nobody is.
import { get, send } from "./api.js";
import { element, make } from "./drawing.js";
import { button, complain, fillTable, icon } from "./parts.js";
import { countText, numberText } from "./text.js";

const DAYS = {
  "": "Every day",
  "mon-fri": "Monday to Friday",
  "sat-sun": "Saturday, Sunday",
  mon: "Monday",
  tue: "Tuesday",
  wed: "Wednesday",
  thu: "Thursday",
  fri: "Friday",
  sat: "Saturday",
  sun: "Sunday",
};
const STRETCH = /^(?:(.*?)\s+)?(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)$/;

const twoDigits = (time) => time.padStart(5, "0");
const asField = (time) => (time === "24:00" ? "00:00" : twoDigits(time)); // which is as late as fields know

/** One stretch of quiet hours, as fields. */
class QuietRow {
  item = make("li", "quiet-row");
  #days = make("select");
  #begin = make("input");
  #end = make("input");

  /** text: as in the settings. onChange(): it is another. onRemove(): it is to go. */
  constructor(text, { onChange, onRemove }) {
    const [, days = "", begin = "22:00", end = "07:00"] = STRETCH.exec(text.trim()) ?? [];
    const known = { ...DAYS, ...(days.toLowerCase() in DAYS ? {} : { [days]: days }) };
    for (const [value, shown] of Object.entries(known)) {
      const option = make("option", "", shown);
      option.value = value;
      this.#days.append(option);
    }
    this.#days.value = days.toLowerCase() in DAYS ? days.toLowerCase() : days;
    this.#days.ariaLabel = "Days on which it begins";
    for (const [field, label, value] of [[this.#begin, "From", begin], [this.#end, "To", end]])
      Object.assign(field, { type: "time", required: true, ariaLabel: label, value: asField(value) });
    const remove = button("button only-icon", "wrong", "", onRemove);
    remove.ariaLabel = "Remove these quiet hours";
    this.item.append(this.#days, this.#begin, make("span", "", "to"), this.#end, remove);
    this.item.onchange = onChange;
  }

  get text() {
    const [days, begin] = [this.#days.value, this.#begin.value];
    const end = this.#end.value === "00:00" ? "24:00" : this.#end.value;
    return `${days ? `${days} ` : ""}${begin}-${end}`;
  }

  focus() {
    this.#days.focus();
  }
}

/** Whether one label is told, and whether in quiet hours, too. */
class ToldRow {
  item = make("li", "told-row");
  #told = make("button", "switch");
  #urgent = make("button", "chip urgent", "Urgent");

  constructor(label, onChange) {
    this.#told.type = this.#urgent.type = "button";
    this.#told.setAttribute("role", "switch");
    this.#told.ariaLabel = `Notify of ${label.label}`;
    this.#urgent.ariaLabel = `${label.label} is urgent`;
    this.#told.onclick = () => onChange({ is_told: !this.label.is_told });
    this.#urgent.onclick = () => onChange({ is_urgent: !this.label.is_urgent });
    this.item.append(this.#told, make("span", "name", label.label), this.#urgent);
    this.update(label);
  }

  update(label) {
    this.label = label;
    this.#told.ariaChecked = String(label.is_told);
    this.#urgent.ariaPressed = String(label.is_urgent);
  }

  set canChange(canChange) {
    this.#told.disabled = this.#urgent.disabled = !canChange;
  }
}

export class NotificationsView {
  #shown = ""; // of recipients, as JSON
  #quiet = []; // rows
  #quietText = ""; // as the listener has them
  #isEdited = false;
  #told = new Map();
  #tests = new Map(); // recipient -> what became of a test
  #canChange = true;
  isShown = false;

  constructor() {
    element("quiet-add").onclick = () => {
      const row = this.#addQuiet("22:00-07:00");
      this.#edit();
      row.focus();
    };
    element("quiet-form").onsubmit = (submitted) => {
      submitted.preventDefault();
      this.#saveQuiet();
    };
    element("told-search").oninput = () => this.#filter();
  }

  set canChange(canChange) {
    if (canChange === this.#canChange) return;
    this.#canChange = canChange;
    this.#shown = "";
    for (const row of this.#told.values()) row.canChange = canChange;
    element("quiet-form").inert = !canChange;
  }

  async load() {
    const state = await get("notifications").catch(() => null);
    if (state) this.#setState(state);
  }

  #setState(state) {
    const isSetUp = state.recipients.length > 0;
    element("notify-none").hidden = isSetUp;
    for (const panel of document.querySelectorAll("#notifications .panel")) panel.hidden = !isSetUp;
    const quiet = state.is_quiet ? "Quiet hours now" : "";
    const held = state.n_held_back ? `${countText(state.n_held_back, "message")} held back, so as not to be too many` : "";
    element("notify-summary").textContent = [quiet, held].filter(Boolean).join(" · ");
    element("notify-clips").hidden = !state.sends_clips;
    this.#setRecipients(state.recipients);
    if (!this.#isEdited) this.#setQuiet(state.quiet_hours);
    this.#setTold(state.labels);
  }

  // ------------------------------------------------------------------------- recipients

  #setRecipients(recipients) {
    const shown = JSON.stringify([recipients, [...this.#tests], this.#canChange]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = document.activeElement?.dataset?.recipient;
    const rows = recipients.map((recipient) => [
      recipient.name,
      this.#testOf(recipient),
      this.#stateOf(recipient),
      recipient.service,
      recipient.labels === null ? "all" : recipient.labels.join(", "),
      numberText(recipient.n_lost),
    ]);
    fillTable(element("recipient-table"), ["Name", "Test", "State", "Service", "Labels", "Lost"], rows);
    if (focused !== undefined)
      [...document.querySelectorAll("[data-recipient]")].find((each) => each.dataset.recipient === focused)?.focus();
  }

  #stateOf({ name, problem }) {
    const tested = this.#tests.get(name);
    const text = tested?.problem || problem;
    const state = make("span", text ? "state bad" : "state good");
    if (text) state.append(icon("alert"));
    const well = tested && !tested.isSending ? "the test was taken" : "well";
    state.append(make("span", "", text || well));
    return state;
  }

  #testOf({ name }) {
    const isSending = this.#tests.get(name)?.isSending ?? false;
    const made = make("button", "button", isSending ? "Sending …" : "Send a test");
    made.type = "button";
    made.dataset.recipient = name;
    made.ariaLabel = `Send a test to ${name}`;
    made.disabled = !this.#canChange;
    made.ariaDisabled = String(isSending);
    made.onclick = () => isSending || this.#test(name);
    return made;
  }

  async #test(name) {
    this.#tests.set(name, { isSending: true });
    await this.load();
    try {
      const { problem } = await send("POST", "notifications/test", { recipient: name });
      this.#tests.set(name, { problem });
      element("spoken").textContent = problem || "The test was taken";
    } catch (error) {
      this.#tests.delete(name);
      complain(error.message);
    }
    await this.load();
  }

  // ------------------------------------------------------------------------- quiet hours

  #setQuiet(texts) {
    const text = texts.join("\n");
    if (text === this.#quietText && this.#quiet.length === texts.length) return this.#showQuiet();
    this.#quietText = text;
    this.#quiet = [];
    element("quiet-rows").replaceChildren();
    for (const each of texts) this.#addQuiet(each);
    return this.#showQuiet();
  }

  #addQuiet(text) {
    const row = new QuietRow(text, {
      onChange: () => this.#edit(),
      onRemove: () => {
        this.#quiet.splice(this.#quiet.indexOf(row), 1);
        row.item.remove();
        this.#edit();
        element("quiet-add").focus();
      },
    });
    this.#quiet.push(row);
    element("quiet-rows").append(row.item);
    return row;
  }

  #edit() {
    this.#isEdited = true;
    this.#showQuiet();
  }

  #showQuiet() {
    element("quiet-none").hidden = this.#quiet.length > 0;
    element("quiet-save").disabled = !this.#isEdited;
  }

  async #saveQuiet() {
    try {
      await send("PUT", "notifications", { quiet_hours: this.#quiet.map((row) => row.text) });
    } catch (error) {
      return complain(error.message);
    }
    this.#isEdited = false;
    this.#quietText = "\n";
    element("spoken").textContent = "Saved";
    return this.load();
  }

  // ------------------------------------------------------------------------- labels

  #setTold(labels) {
    const names = new Set(labels.map(({ label }) => label));
    for (const [name, row] of this.#told)
      if (!names.has(name)) {
        row.item.remove();
        this.#told.delete(name);
      }
    for (const label of labels) {
      const row = this.#told.get(label.label);
      if (row) row.update(label);
      else this.#addTold(label);
    }
    this.#filter();
  }

  #addTold(label) {
    const row = new ToldRow(label, (wish) => this.#changeTold(row.label.label, wish));
    row.canChange = this.#canChange;
    this.#told.set(label.label, row);
    element("told-rows").append(row.item);
  }

  async #changeTold(label, wish) {
    try {
      await send("PUT", `notifications/labels/${encodeURIComponent(label)}`, wish);
    } catch (error) {
      complain(error.message);
    }
    await this.load();
  }

  #filter() {
    const text = element("told-search").value.trim().toLowerCase();
    for (const [name, row] of this.#told) row.item.hidden = !name.toLowerCase().includes(text);
  }
}
