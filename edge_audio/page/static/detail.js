// SPDX-License-Identifier: Apache-2.0
// One event: its clip, and whether it was right.
import { send } from "./api.js";
import { ClipPlayer } from "./clip.js";
import { element, make } from "./drawing.js";
import { button, complain } from "./parts.js";
import { longDayText, spanText, timeText } from "./text.js";

const VERDICTS = { right: "Right", wrong: "Wrong", other: "It was …" }; // their icons are called as they are

const NO_CLIPS = "Recordings are not kept here: record = true under [clips] in the settings keeps them.";

/** Shows one event at a time in `item`. */
export class EventDetail {
  item = make("article", "detail");
  #event = null;
  #player = null;
  #feedback = make("div", "feedback");
  #canChange = true;
  hasClips = true; // whether any are kept

  /** onChange(event): its feedback is another. onLabel(label): events of it alone are wanted. */
  constructor({ onChange, onLabel }) {
    this.onChange = onChange;
    this.onLabel = onLabel;
    this.show(null);
  }

  get event() {
    return this.#event;
  }

  set canChange(canChange) {
    this.#canChange = canChange;
    this.#feedback.querySelectorAll("button").forEach((each) => (each.disabled = !canChange));
  }

  show(event) {
    if (event && this.#event?.id === event.id && this.#player) return this.#update(event);
    this.#player?.close();
    this.#player = null;
    this.#event = event;
    if (!event) return this.item.replaceChildren(make("p", "none", "Choose an event to hear and judge it."));
    this.item.replaceChildren(this.#head(event), this.#clip(event), this.#feedback, this.#links(event));
    this.#player?.draw();
    return this.#judge();
  }

  setColours() {
    this.#player?.setColours();
  }

  draw() {
    this.#player?.draw();
  }

  #update(event) {
    this.#event = event;
    this.#judge();
  }

  #head({ label, stream, unix_s: unixS, duration_s: durationS, score }) {
    const head = make("header");
    const title = make("h2", "", label);
    title.tabIndex = -1;
    const length = durationS === null ? "" : ` for ${spanText(durationS)}`;
    head.append(
      title,
      make("p", "", `${longDayText(unixS)}, ${timeText(unixS)}${length}`),
      make("p", "", `${stream} · score ${score.toFixed(2)}`),
    );
    return head;
  }

  #clip(event) {
    if (!event.has_clip)
      return make("p", "none", this.hasClips ? "There is no recording of this sound, or no more." : NO_CLIPS);
    this.#player = new ClipPlayer(event.id);
    return this.#player.item;
  }

  #links({ label }) {
    const links = make("p", "links");
    const only = button("quiet", "search", "Only this label", () => this.onLabel(label));
    const threshold = make("a", "", "Its threshold");
    threshold.href = `#labels/${encodeURIComponent(label)}`;
    links.append(only, threshold);
    return links;
  }

  // ------------------------------------------------------------------------------- feedback

  #judge() {
    const given = this.#event.feedback;
    const group = make("div", "verdicts");
    group.setAttribute("role", "group");
    group.ariaLabel = "Was it right?";
    for (const [verdict, text] of Object.entries(VERDICTS)) {
      const isGiven = given?.verdict === verdict;
      const shown = isGiven && verdict === "other" ? `It was ${given.label}` : text;
      const made = button("verdict", verdict, shown, () => this.#choose(verdict, isGiven));
      made.dataset.verdict = verdict;
      made.ariaPressed = String(isGiven);
      made.disabled = !this.#canChange;
      group.append(made);
    }
    this.#feedback.replaceChildren(group);
    if (given?.verdict !== "other" || !this.#event.has_clip) return;
    const teach = make("a", "", "Teach this sound");
    teach.href = "#labels";
    const line = make("p", "links");
    line.append(teach);
    this.#feedback.append(line);
  }

  #choose(verdict, isGiven) {
    if (isGiven) return this.#give({ verdict: null });
    if (verdict === "other") return this.#ask();
    return this.#give({ verdict });
  }

  #ask() {
    if (this.#feedback.querySelector("form")) return;
    const form = make("form", "other");
    const field = make("input");
    Object.assign(field, { required: true, ariaLabel: "What it was", placeholder: "What was it?", autocomplete: "off" });
    field.setAttribute("list", "label-names");
    const save = make("button", "primary", "Save");
    form.append(field, save);
    form.onsubmit = (submitted) => {
      submitted.preventDefault();
      this.#give({ verdict: "other", label: field.value.trim() });
    };
    this.#feedback.append(form);
    field.focus();
  }

  async #give(feedback) {
    const event = this.#event;
    try {
      await send("PUT", `events/${event.id}/feedback`, feedback);
    } catch (error) {
      return complain(error.message);
    }
    event.feedback = feedback.verdict === null ? null : { label: null, ...feedback };
    element("spoken").textContent = feedback.verdict === null ? "Taken back" : "Saved, thank you";
    this.onChange(event);
    if (this.#event !== event) return undefined;
    this.#judge();
    const pressed = feedback.verdict ?? "right";
    return this.#feedback.querySelector(`[data-verdict=${pressed}]`).focus();
  }
}
