// SPDX-License-Identifier: Apache-2.0
// Sounds of one's own, taught from clips of events of which somebody said what they were.
import { get, send } from "./api.js";
import { element, make } from "./drawing.js";
import { complain, icon } from "./parts.js";
import { countText } from "./text.js";

const LOOK_MS = 1000;

export class TeachPanel {
  #timer = 0;
  #canChange = true;
  #shown = "";
  isShown = false;

  set canChange(canChange) {
    if (canChange === this.#canChange) return;
    this.#canChange = canChange;
    this.#shown = "";
  }

  /** Asks the listener, and again as long as it is teaching. */
  async load() {
    clearTimeout(this.#timer);
    const status = await get("sounds").catch(() => null);
    if (status) this.#show(status);
    if (this.isShown && status?.state === "running") this.#timer = setTimeout(() => this.load(), LOOK_MS);
  }

  #show(status) {
    const shown = JSON.stringify([status, this.#canChange]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { sounds, state, problem } = status;
    element("teach").hidden = sounds.length === 0 && state === "idle";
    element("teach-problem").textContent = problem;
    element("teach-problem").hidden = problem === "";
    element("teach-rows").replaceChildren(...sounds.map((sound) => this.#rowOf(sound, status)));
    this.#showLesson(status);
  }

  #rowOf({ name, n_clips: nClips, n_others: nOthers, n_taken: nTaken }, { state, problem }) {
    const row = make("li", "teach-row");
    const parts = [
      nClips ? countText(nClips, "new recording") : "no new recordings",
      nOthers ? `${countText(nOthers, "recording")} of what it is not` : "",
      nTaken ? `learned from ${countText(nTaken, "take")}` : "",
    ];
    const about = make("div", "label-name");
    about.append(make("span", "name", name), make("small", "", parts.filter(Boolean).join(" · ")));
    const teach = make("button", "button", "Teach this sound");
    teach.type = "button";
    teach.ariaLabel = `Teach ${name}`;
    teach.disabled = !this.#canChange || nClips === 0 || state === "running" || problem !== "";
    teach.onclick = () => this.#teach(name);
    row.append(about, teach);
    return row;
  }

  async #teach(name) {
    try {
      await send("POST", "sounds", { name });
    } catch (error) {
      complain(error.message);
    }
    await this.load();
  }

  #showLesson({ state, name, lines }) {
    const heads = { running: `Teaching ${name} …`, done: `${name} was learned`, failed: `${name} was not learned` };
    const said = element("teach-said");
    element("teach-lesson").hidden = state === "idle";
    const head = make("p", state === "failed" ? "state bad" : "state");
    if (state === "failed") head.append(icon("alert"));
    head.append(make("b", "", heads[state] ?? ""));
    element("teach-head").replaceChildren(head);
    said.replaceChildren(...lines.map((line) => make("li", "", line)));
  }
}
