// SPDX-License-Identifier: Apache-2.0
// How the page speaks with the listener: requests, and what comes by itself.

const BASE = new URL("api/v1/", import.meta.url); // also under a sub-path
const RETRY_MS = [500, 1000, 2000, 5000];
const HIDDEN_MS = 60_000; // a page that nobody looks at for so long takes nothing from the listener

/** What went wrong, as a line for people. status: of HTTP; 0 if nobody answered. */
class ApiError extends Error {
  constructor(message, status, retryAfterS = 0) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

let csrfToken = "";
let onLogInNeeded = () => {};

/** called: whenever the listener asks who this is. */
export const setLogIn = (called) => (onLogInNeeded = called);

export function addressOf(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  return url.href;
}

async function request(path, options, query) {
  const response = await fetch(addressOf(path, query), { credentials: "same-origin", ...options }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The listener does not answer. Is it running, and is this device in its network?", 0);
  });
  if (response.ok) return response;
  if (response.status === 401 && path !== "login") onLogInNeeded();
  const said = await response.json().catch(() => ({}));
  const reason = typeof said?.error === "string" ? said.error : `The listener answered ${response.status}.`;
  throw new ApiError(reason, response.status, Number(response.headers.get("Retry-After")) || 0);
}

export async function get(path, query = {}, signal = undefined) {
  const answer = await request(path, { signal }, query).then((response) => response.json());
  if (path === "status") csrfToken = answer.csrf_token ?? "";
  return answer;
}

/** Changes something; gives what came back, or null. */
export async function send(method, path, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrfToken };
  const response = await request(path, { method, headers, body: JSON.stringify(body) });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const fetchClip = (id, signal) =>
  request(`events/${id}/clip`, { signal }).then((response) => response.arrayBuffer());

/** Server-sent events of the listener, for as long as the page is looked at; connects again. */
export class Live {
  #handlers;
  #source = null;
  #nFailures = 0;
  #timer = 0;

  /** handlers: {frame, event, status, lost}, called with what came, and state("open" | "lost"). */
  constructor(handlers) {
    this.#handlers = handlers;
    document.addEventListener("visibilitychange", () => this.#look());
  }

  connect() {
    this.close();
    const source = new EventSource(addressOf("live"));
    this.#source = source;
    source.onopen = () => {
      this.#nFailures = 0;
      this.#handlers.state("open");
    };
    source.onerror = () => this.#fail();
    for (const name of ["frame", "event", "status", "lost"])
      source.addEventListener(name, ({ data }) => this.#handlers[name](JSON.parse(data)));
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** EventSource gives up at some answers and says nothing of them: this asks, and tries again. */
  #fail() {
    this.close();
    this.#handlers.state("lost");
    const waitMs = RETRY_MS[Math.min(this.#nFailures++, RETRY_MS.length - 1)];
    this.#timer = setTimeout(async () => {
      const status = await get("status").catch((error) => error);
      if (status.status === 401) return; // the form to log in is shown
      if (status instanceof Error) this.#fail();
      else this.connect();
    }, waitMs);
  }

  #look() {
    clearTimeout(this.#timer);
    if (!document.hidden && this.#source === null) this.connect();
    if (document.hidden) this.#timer = setTimeout(() => this.close(), HIDDEN_MS);
  }
}
