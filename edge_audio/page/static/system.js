// SPDX-License-Identifier: Apache-2.0
// How the listener itself is doing.
import { addressOf, get } from "./api.js";
import { element, make } from "./drawing.js";
import { fillTable, icon } from "./parts.js";
import { bytesText, numberText, spanText } from "./text.js";

const share = (number) => (typeof number === "number" ? `${(100 * number).toFixed(number < 0.1 ? 1 : 0)} %` : "–");

const lostText = (lostS) => (lostS > 0 ? spanText(lostS) : "none");

/** "all is well", or what is wrong, with a sign. */
function stateOf(problem, well) {
  const state = make("span", problem ? "state bad" : "state good");
  if (problem) state.append(icon("alert"));
  state.append(make("span", "", problem || well));
  return state;
}

function fillFacts(list, facts) {
  const items = facts.map(([name, value]) => {
    const item = make("div");
    item.append(make("dt", "", name), make("dd", "", value));
    return item;
  });
  list.replaceChildren(...items);
}

const OTHER_STATES = { listening: "listening", paused: "paused", locked: "asks for its password" };
const countOf = (number) => (number === null ? "–" : numberText(number));

export class SystemView {
  #others = "[]";
  isShown = false;

  constructor() {
    element("all-csv").href = addressOf("events.csv");
    element("openapi").href = addressOf("openapi.json");
  }

  setStatus(status) {
    const { streams, destinations, disk, load } = status;
    fillFacts(element("facts"), [
      ["running for", spanText(status.uptime_s)],
      ["CPU, of one core", share(load.cpu_share)],
      ["model, of real time", share(load.real_time_factor)],
      ["audio lost", lostText(streams.reduce((sum, stream) => sum + stream.lost_s, 0))],
    ]);
    const streamRows = streams.map((stream) => [
      stream.name,
      stateOf(stream.problem, stream.is_live ? "listening" : "ended"),
      stream.level_dbfs === null ? "–" : `${stream.level_dbfs.toFixed(0)} dBFS`,
      lostText(stream.lost_s),
      numberText(stream.n_events),
    ]);
    fillTable(element("stream-table"), ["Source", "State", "Level", "Lost", "Events"], streamRows);
    const rows = destinations.map(({ name, problem, n_lost: nLost }) => [
      name, stateOf(problem, "well"), numberText(nLost),
    ]);
    fillTable(element("destination-table"), ["Destination", "State", "Lost"], rows);
    element("destinations-none").hidden = rows.length > 0;
    element("destination-table").hidden = rows.length === 0;
    this.#setDisk(disk);
    if (this.isShown) this.loadOthers();
    element("about").textContent = `edge-audio ${status.version}, model ${status.model}`;
    const nProblems = [...streams, ...destinations].filter(({ problem }) => problem).length;
    element("n-problems").hidden = nProblems === 0;
    element("n-problems").textContent = String(nProblems);
    element("n-problems").ariaLabel = `${nProblems} ${nProblems === 1 ? "problem" : "problems"}`;
  }

  /** Asks for other listeners; this one asks them. */
  async loadOthers() {
    const others = await get("others").catch(() => null);
    const shown = JSON.stringify(others);
    if (others === null || shown === this.#others) return;
    this.#others = shown;
    element("others").hidden = others.length === 0;
    const rows = others.map(({ address, state, n_streams: nStreams, n_problems: nProblems, problem }) => {
      const link = make("a", "", address.replace(/^https?:\/\//, "").replace(/\/$/, ""));
      link.href = address;
      return [link, stateOf(problem, OTHER_STATES[state] ?? state), countOf(nStreams), countOf(nProblems)];
    });
    fillTable(element("other-table"), ["Listener", "State", "Sources", "Problems"], rows);
  }

  #setDisk({ free_bytes: freeBytes, history_bytes: historyBytes, clips_bytes: clipsBytes }) {
    fillFacts(element("disk"), [
      ["free", bytesText(freeBytes)],
      ["history", bytesText(historyBytes)],
      ["clips", bytesText(clipsBytes)],
    ]);
  }
}
