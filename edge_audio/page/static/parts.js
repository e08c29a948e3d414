// SPDX-License-Identifier: Apache-2.0
// Small parts of the page that several views have.
import { element, make } from "./drawing.js";

const SVG = "http://www.w3.org/2000/svg";
const SPOKEN_EVERY_MS = 5000; // so that a screen reader can say other things, too

/** A picture of icons.svg, which says nothing by itself. */
export function icon(name) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `icons.svg#${name}`);
  picture.append(use);
  return picture;
}

/** Another picture; to name the same again would have the browser look it up again. */
export function setIcon(picture, name) {
  const [use, href] = [picture.firstElementChild, `icons.svg#${name}`];
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** A button of an icon and a text. */
export function button(className, iconName, text, onClick) {
  const made = make("button", className);
  made.type = "button";
  made.append(icon(iconName), make("span", "", text));
  made.onclick = onClick;
  return made;
}

/** Calls once, when nothing was asked for waitMs. */
export function settled(waitMs, call) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), waitMs);
  };
}

/** Calls at most once in a frame of the screen. */
export function drawn(call) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      call();
    });
  };
}

/** A line above everything; "" takes it away. */
export function complain(text) {
  element("complaint-text").textContent = text;
  element("complaint").hidden = text === "";
}

let lastSpokenMs = -SPOKEN_EVERY_MS;
let unspoken = [];
let speakTimer = 0;

/** Has a screen reader say that a sound began, several of them in one sentence. */
export function speak(text) {
  if (!unspoken.includes(text)) unspoken.push(text);
  clearTimeout(speakTimer);
  const waitMs = Math.max(0, lastSpokenMs + SPOKEN_EVERY_MS - performance.now());
  speakTimer = setTimeout(() => {
    lastSpokenMs = performance.now();
    element("spoken").textContent = unspoken.join(", ");
    unspoken = [];
  }, waitMs);
}

/** A table of texts. rows: arrays of texts or elements. */
export function fillTable(table, heads, rows) {
  const head = make("tr");
  for (const text of heads) {
    const cell = make("th", "", text);
    cell.scope = "col";
    head.append(cell);
  }
  const body = rows.map((cells) => {
    const row = make("tr");
    cells.forEach((content, column) => {
      const cell = make(column === 0 ? "th" : "td");
      if (column === 0) cell.scope = "row";
      cell.append(content);
      row.append(cell);
    });
    return row;
  });
  const [thead, tbody] = [make("thead"), make("tbody")];
  thead.append(head);
  tbody.append(...body);
  table.replaceChildren(thead, tbody);
}
