// SPDX-License-Identifier: Apache-2.0
// The page of a listener: which view is shown, what the listener says, who may see it.
import { get, Live, send, setLogIn } from "./api.js";
import { darkScheme, element, make, setText } from "./drawing.js";
import { HistoryView } from "./history.js";
import { LabelsView } from "./labels.js";
import { LiveView, N_RECENT } from "./live.js";
import { NotificationsView } from "./notifications.js";
import { complain, settled, setIcon } from "./parts.js";
import { SystemView } from "./system.js";
import { TeachPanel } from "./teach.js";

const VIEWS = ["live", "history", "labels", "notifications", "system"];
const SENSITIVITY_TEXTS = { quiet: "Quiet", normal: "Normal", eager: "Eager" };

const history = new HistoryView();
const liveView = new LiveView((id) => history.openSheet(id));
const system = new SystemView();
const notifications = new NotificationsView();
const teachPanel = new TeachPanel();
const labelsView = new LabelsView((labels) => liveView.setLabels(labels));
const live = new Live({
  frame: (frame) => liveView.frame(frame),
  event: (record) => {
    liveView.event(record);
    history.event(record);
  },
  status: setStatus,
  lost: catchUp, // what this page missed is in the history
  state: setConnection,
});
let status = null;
let isAsked = false; // to log in

// ---------------------------------------------------------------------------------- state

function setStatus(current) {
  const before = status;
  status = current;
  liveView.setStatus(current);
  system.setStatus(current);
  history.setStatus(current);
  labelsView.canChange = current.can_change;
  notifications.canChange = teachPanel.canChange = current.can_change;
  if (notifications.isShown) notifications.load();
  setPaused(current);
  setSensitivities(current);
  element("log-out").hidden = !current.needs_password;
  if (before && (before.sensitivity !== current.sensitivity || before.model !== current.model)) loadLabels();
}

function setPaused({ is_paused: isPaused, can_change: canChange }) {
  const pause = element("pause");
  setIcon(pause.querySelector("svg"), isPaused ? "play" : "pause");
  pause.querySelector("span").textContent = isPaused ? "Resume" : "Pause";
  pause.disabled = !canChange;
  document.body.classList.toggle("paused", isPaused);
  element("paused").hidden = !isPaused;
}

function setSensitivities({ sensitivity, sensitivities, can_change: canChange }) {
  const group = element("sensitivity");
  const known = [...group.querySelectorAll("input")].map((input) => input.value);
  if (known.join() !== sensitivities.join())
    group.replaceChildren(...sensitivities.map((name) => makeChoice(name)));
  for (const input of group.querySelectorAll("input")) {
    input.checked = input.value === sensitivity;
    input.disabled = !canChange;
  }
}

function makeChoice(name) {
  const choice = make("label", "choice");
  const input = make("input");
  Object.assign(input, { type: "radio", name: "sensitivity", value: name });
  input.onchange = () => run({ sensitivity: name });
  choice.append(input, make("span", "", SENSITIVITY_TEXTS[name] ?? name));
  return choice;
}

async function run(wish) {
  try {
    await send("POST", "run", wish);
    complain("");
  } catch (error) {
    complain(error.message);
  }
  get("status").then(setStatus, () => {});
}

async function loadLabels() {
  const labels = await get("labels").catch(() => null);
  if (!labels) return;
  labelsView.setLabels(labels);
  liveView.setLabels(labels);
  const names = labels.map(({ label }) => {
    const option = make("option");
    option.value = label;
    return option;
  });
  element("label-names").replaceChildren(...names);
}

async function loadRecent() {
  const answer = await get("events", { limit: N_RECENT }).catch(() => null);
  if (answer) liveView.fill(answer.events);
}

function catchUp() {
  loadRecent();
  history.catchUp();
}

function setConnection(state) {
  const isOpen = state === "open";
  document.body.classList.toggle("away", !isOpen);
  setText(element("connection"), isOpen ? "Connected" : "Connecting again …");
  if (!isOpen) return;
  complain("");
  catchUp();
}

// ---------------------------------------------------------------------------------- log-in

function askToLogIn() {
  live.close();
  isAsked = true;
  showView();
  element("password").focus();
}

async function logIn(submitted) {
  submitted.preventDefault();
  const [field, problem] = [element("password"), element("login-problem")];
  problem.textContent = "";
  try {
    await send("POST", "login", { password: field.value });
    isAsked = false;
    field.value = "";
    await start();
  } catch (error) {
    problem.textContent = loginText(error);
    field.select();
  }
}

function loginText({ status: code, message, retryAfterS }) {
  if (code === 429) return `Too many attempts: try again in ${retryAfterS || 60} s.`;
  return code === 401 || code === 403 ? "That is not the password." : message;
}

async function logOut() {
  await send("POST", "logout", {}).catch(() => {});
  askToLogIn();
}

// ---------------------------------------------------------------------------------- views

/** "#labels/Dog" -> ["labels", "Dog"]. */
function placeOf(hash) {
  const [name, ...rest] = hash.slice(1).split("/");
  return [VIEWS.includes(name) ? name : "live", rest.join("/")];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // as somebody typed it
  }
}

function showView() {
  const [name, detail] = placeOf(location.hash);
  element("login").hidden = !isAsked;
  element("top").classList.toggle("bare", isAsked);
  for (const view of VIEWS) {
    element(view).hidden = isAsked || view !== name;
    const link = document.querySelector(`nav a[href="#${view}"]`);
    if (view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = isAsked ? "edge-audio" : `${document.querySelector(`#${name} h1`).textContent} · edge-audio`;
  liveView.isShown = !isAsked && name === "live";
  notifications.isShown = !isAsked && name === "notifications";
  teachPanel.isShown = !isAsked && name === "labels";
  system.isShown = !isAsked && name === "system";
  if (isAsked) return;
  element("sheet").close();
  if (name === "history") history.open();
  else history.close();
  if (notifications.isShown) notifications.load();
  if (teachPanel.isShown) teachPanel.load();
  if (system.isShown) system.loadOthers();
  if (name === "labels" && detail) labelsView.find(decoded(detail));
  liveView.draw();
}

async function start() {
  try {
    setStatus(await get("status"));
  } catch (error) {
    if (error.status === 401) return;
    setConnection("lost");
    complain(error.message);
    setTimeout(start, 2000);
    return;
  }
  showView();
  await Promise.all([loadLabels(), loadRecent()]);
  live.connect();
}

element("pause").onclick = () => run({ is_paused: !status.is_paused });
element("complaint-close").onclick = () => complain("");
element("login-form").onsubmit = logIn;
element("log-out").onclick = logOut;
element("skip").onclick = (event) => {
  event.preventDefault();
  element("main").focus();
};
window.onhashchange = () => {
  showView();
  element("main").focus({ preventScroll: true });
  window.scrollTo(0, 0);
};
darkScheme.addEventListener("change", () => {
  liveView.setColours();
  history.setColours();
});
window.onresize = settled(100, () => {
  liveView.draw();
  history.draw();
});
setLogIn(askToLogIn);
start();
