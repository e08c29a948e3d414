// SPDX-License-Identifier: Apache-2.0
// Plays the clip of an event, under its spectrogram.
import { addressOf, fetchClip } from "./api.js";
import { fitted, levelImage, make, styleOf } from "./drawing.js";
import { button, icon, setIcon } from "./parts.js";
import { clipLevels, N_MELS, RATE_HZ } from "./spectrum.js";

const SEEK_S = 1; // by an arrow key

const secondsText = (seconds) =>
  `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

/** A clip: its element, and its life until `close`. */
export class ClipPlayer {
  #audio = new Audio();
  #canvas = make("canvas", "strip");
  #time = make("span", "clip-time", "");
  #play;
  #levels = null;
  #image = document.createElement("canvas");
  #durationS = 0;
  #abort = new AbortController();
  #frame = 0;

  constructor(id) {
    this.id = id;
    this.item = make("div", "clip");
    this.#play = button("primary", "play", "Play", () => this.toggle());
    const download = make("a", "button");
    download.href = addressOf(`events/${id}/clip`, { download: 1 });
    download.append(icon("download"), make("span", "", "Download"));
    const controls = make("div", "clip-controls");
    controls.append(this.#play, this.#time, download);
    this.item.append(this.#canvas, controls);
    this.#prepareCanvas();
    this.#audio.preload = "none";
    this.#audio.src = addressOf(`events/${id}/clip`);
    for (const name of ["play", "pause", "ended"]) this.#audio.addEventListener(name, () => this.#show());
    this.#audio.addEventListener("seeked", () => this.draw());
    this.#audio.addEventListener("error", () => this.#fail());
    this.#load();
  }

  toggle() {
    if (this.#audio.paused) this.#audio.play().catch(() => {});
    else this.#audio.pause();
  }

  close() {
    this.#abort.abort();
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    cancelAnimationFrame(this.#frame);
  }

  async #load() {
    try {
      const bytes = await fetchClip(this.id, this.#abort.signal);
      const decoder = new OfflineAudioContext(1, 1, RATE_HZ);
      const decoded = await decoder.decodeAudioData(bytes);
      this.#durationS = decoded.duration;
      this.item.dataset.durationS = decoded.duration.toFixed(3);
      this.#canvas.ariaValueMax = decoded.duration.toFixed(1);
      this.#levels = clipLevels(decoded.getChannelData(0));
      this.setColours();
    } catch (error) {
      if (error.name !== "AbortError") this.#fail(error);
    }
  }

  #fail(error) {
    if (this.#abort.signal.aborted || this.item.querySelector(".none")) return;
    const reason = error?.status ? error.message : "This browser cannot play the clip: download it instead.";
    this.#canvas.replaceWith(make("p", "none", reason));
    this.#play.disabled = true;
  }

  #prepareCanvas() {
    const canvas = this.#canvas;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "slider");
    Object.assign(canvas, { ariaLabel: "Place in the clip", ariaValueMin: "0", ariaValueMax: "0", ariaValueNow: "0" });
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#seekTo(event);
    };
    canvas.onpointermove = (event) => event.buttons && this.#seekTo(event);
    canvas.onkeydown = (event) => this.#onKey(event);
  }

  #seekTo({ offsetX }) {
    this.#seek((this.#durationS * offsetX) / this.#canvas.clientWidth);
  }

  #onKey(event) {
    const at = this.#audio.currentTime;
    const places = { ArrowLeft: at - SEEK_S, ArrowRight: at + SEEK_S, Home: 0, End: this.#durationS };
    if (event.key in places) this.#seek(places[event.key]);
    else if (event.key === " " || event.key === "Enter") this.toggle();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #seek(placeS) {
    this.#audio.currentTime = Math.max(0, Math.min(this.#durationS, placeS));
    this.draw();
  }

  /** Of the button, and of the line that wanders while it plays. */
  #show() {
    const isPlaying = !this.#audio.paused && !this.#audio.ended;
    setIcon(this.#play.firstElementChild, isPlaying ? "pause" : "play");
    this.#play.lastElementChild.textContent = isPlaying ? "Pause" : "Play";
    cancelAnimationFrame(this.#frame);
    const next = () => {
      this.draw();
      if (isPlaying) this.#frame = requestAnimationFrame(next);
    };
    next();
  }

  setColours() {
    if (!this.#levels) return;
    const image = levelImage(this.#levels, N_MELS);
    this.#image.width = image.width;
    this.#image.height = image.height;
    this.#image.getContext("2d").putImageData(image, 0, 0);
    this.draw();
  }

  draw() {
    if (!this.#levels || !this.#canvas.isConnected) return;
    const { width, height, context } = fitted(this.#canvas);
    const nowS = this.#audio.currentTime;
    context.drawImage(this.#image, 0, 0, width, height);
    context.fillStyle = styleOf("--accent");
    context.fillRect((width * nowS) / this.#durationS - 1, 0, 2, height);
    this.#canvas.ariaValueNow = nowS.toFixed(1);
    this.#canvas.ariaValueText = `${nowS.toFixed(1)} of ${this.#durationS.toFixed(1)} seconds`;
    this.#time.textContent = `${secondsText(nowS)} / ${secondsText(this.#durationS)}`;
  }
}
