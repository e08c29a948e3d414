// SPDX-License-Identifier: Apache-2.0
// The page around the worklet: opens a microphone or a file, shows what comes back.
import { darkScheme, element, Spectrogram, Tags, toLevels } from "./drawing.js";
import { Events, Meters } from "./view.js";

const SAMPLE_RATE_HZ = 16000; // of the models; the browser resamples, or else the worklet
const MICROPHONE_ERRORS = {
  NotAllowedError:
    "The browser was not allowed to use the microphone. Allow it beside the address bar " +
    "(or in the settings of your system), then press Listen again. A sound file needs no permission.",
  NotFoundError: "No microphone was found. Plug one in and press Listen again, or open a sound file.",
  NotReadableError:
    "The microphone is there but gives no sound: another program may have it. Close that program " +
    "and press Listen again.",
};
MICROPHONE_ERRORS.SecurityError = MICROPHONE_ERRORS.NotAllowedError;
MICROPHONE_ERRORS.OverconstrainedError = MICROPHONE_ERRORS.NotFoundError;

/** A message for the person in front of the page. */
class PageError extends Error {}

// ------------------------------------------------------------------ what the page is made of

/** {wasm, image, workletUrl}: from inside of a page that is one file, or from beside it. */
async function loadParts() {
  if (element("edge-audio-wasm")) {
    const [wasm, image] = ["edge-audio-wasm", "edge-audio-image"].map(inlineBytes);
    // Pages opened as files may not load worklets from Blobs, but from this:
    const workletUrl = `data:text/javascript;base64,${inlineText("edge-audio-worklet")}`;
    return { wasm, image, workletUrl };
  }
  const names = ["edge_audio.wasm", "edge_audio_image.bin"];
  const [wasm, image] = await Promise.all(names.map(fetchBytes));
  return { wasm, image, workletUrl: "worklet.js" };
}

const inlineText = (id) => element(id).textContent.trim();

function inlineBytes(id) {
  return Uint8Array.from(atob(inlineText(id)), (character) => character.charCodeAt(0)).buffer;
}

async function fetchBytes(name) {
  const response = await fetch(name).catch(() => ({ ok: false, status: "no answer" }));
  if (!response.ok)
    throw new PageError(`${name} could not be loaded (${response.status}): is it beside this page?`);
  return response.arrayBuffer();
}

function checkBrowser() {
  if (!window.isSecureContext)
    throw new PageError(
      "Browsers give a microphone to safe pages only: open this one by https, from this computer " +
        "(run python3 -m http.server in its folder and open http://localhost:8000), or as a file.",
    );
  if (!window.AudioWorkletNode || !window.WebAssembly)
    throw new PageError("This browser has no AudioWorklet or no WebAssembly: use one of 2022 or later.");
}

// ------------------------------------------------------------------------------- listening

/** One stream from a microphone or a file, from its start to its end. */
class Listening {
  #context = null;
  #node = null;
  #stream = null;
  #source = null;
  #show;
  #isOver = false;

  /** show: {ready, step, end, error}, called with what the worklet posts. */
  constructor(show) {
    this.#show = show;
  }

  async microphone() {
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (!navigator.mediaDevices?.getUserMedia)
      throw new PageError("This browser gives pages no microphone: open a sound file instead.");
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio: wanted }).catch((error) => {
      throw new PageError(MICROPHONE_ERRORS[error.name] ?? `The microphone does not open: ${error.message}`);
    });
    if (this.#isOver) return this.#close();
    this.#stream.getAudioTracks()[0].onended = () => {
      this.#show.error("The microphone went away. Plug it in and press Listen again.");
    };
    this.#openMicrophone();
    await this.#run();
  }

  async file(file) {
    this.#context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ });
    const buffer = await file
      .arrayBuffer()
      .then((bytes) => this.#context.decodeAudioData(bytes))
      .catch(() => {
        throw new PageError(`${file.name} is not sound that this browser can play: try WAV, FLAC or MP3.`);
      });
    if (this.#isOver) return this.#close();
    this.#source = new AudioBufferSourceNode(this.#context, { buffer });
    this.#source.connect(this.#context.destination);
    this.#source.onended = () => this.end();
    await this.#run();
    this.#source.start();
  }

  /** Ends open events, of which show.end is told, and gives the microphone back. False if there
   * was nothing to end yet. */
  end() {
    if (!this.#node) return false;
    this.#node.port.postMessage("end");
    this.#context.resume();
    return true;
  }

  /** table: {label: [on, off]}; labels that it has not are off. */
  setThresholds(table) {
    this.#node?.port.postMessage({ thresholds: table });
  }

  /** Goes on after the browser has put the page to sleep. */
  wake() {
    if (this.#context?.state !== "closed") this.#context?.resume();
  }

  /** Gives everything back at once. */
  abort() {
    this.#isOver = true;
    this.#close();
  }

  #openMicrophone() {
    try {
      this.#context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ });
      this.#source = this.#context.createMediaStreamSource(this.#stream);
    } catch { // a browser that does not resample microphones
      this.#context?.close();
      this.#context = new AudioContext();
      this.#source = this.#context.createMediaStreamSource(this.#stream);
    }
  }

  async #run() {
    const { wasm, image, workletUrl } = await loadParts();
    await this.#context.audioWorklet.addModule(workletUrl);
    if (this.#isOver) return this.#close();
    this.#node = new AudioWorkletNode(this.#context, "edge-audio", {
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { wasm, image },
    });
    this.#node.port.onmessage = ({ data }) => this.#receive(data);
    this.#node.onprocessorerror = () => this.#show.error("The audio thread stopped: press Listen again.");
    this.#source.connect(this.#node);
    this.#node.connect(this.#context.destination); // silent, but what leads nowhere may not run
    await this.#context.resume();
  }

  #receive({ ready, step, end, error }) {
    if (ready) this.#show.ready(ready);
    if (step) this.#show.step(step);
    if (error) this.#show.error(`The model does not open: ${error}.`);
    if (end) {
      this.#close();
      this.#show.end(end);
    }
  }

  #close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    if (this.#source) this.#source.onended = null;
    if (this.#context?.state !== "closed") this.#context?.close();
  }
}

// ---------------------------------------------------------------------------------- the page

/** Everything that one stream shows. */
class View {
  #heardS = 0;
  #isDue = false;

  constructor(ready) {
    this.stepS = ready.stepMs / 1000;
    this.labels = ready.labels;
    const frameS = this.stepS / ready.nFrames;
    this.spectrogram = new Spectrogram(element("spectrogram"), { frameS, nMels: ready.nMels });
    this.thresholds = new Map(ready.labels.map((label, i) => [label, ready.thresholds[i]]));
    const thresholdOf = (label) => this.thresholds.get(label) ?? 0;
    this.tags = new Tags(element("tags"), { stepMs: ready.stepMs, thresholdOf });
    this.events = new Events();
    this.meters = new Meters(ready);
    const crc = ready.imageCrc32.toString(16).padStart(8, "0");
    element("model").textContent =
      `${ready.labels.length} labels, a score every ${ready.stepMs} ms, model ${crc}`;
  }

  step(step) {
    this.#heardS = step.n * this.stepS;
    this.spectrogram.push(toLevels(step.logMel));
    this.tags.push(this.labels.map((label, i) => [label, step.scores[i]]));
    step.events.forEach((event) => this.events.push(event));
    this.meters.push(step, this.#heardS);
    if (!this.#isDue) requestAnimationFrame(() => this.draw());
    this.#isDue = true;
  }

  setThresholds(table) {
    this.thresholds = new Map(Object.entries(table).map(([label, [on]]) => [label, on]));
    this.events.keepOnly((label) => this.thresholds.has(label), this.#heardS);
  }

  draw() {
    this.#isDue = false;
    this.spectrogram.draw(this.events.spans, this.#heardS);
    this.tags.draw();
  }
}

const sensitivities = JSON.parse(inlineText("edge-audio-sensitivities"));
let listening = null;
let view = null;

function say(text) {
  element("message").className = "";
  element("message").textContent = text;
  element("message").hidden = text === "";
}

function setListening(current) {
  listening = current;
  element("listen").textContent = current ? "Stop" : "Listen";
  document.body.classList.toggle("listening", current !== null);
}

/** open: starts a Listening in its own way. */
async function begin(open) {
  listening?.abort();
  say("");
  const ifCurrent = (show) => (posted) => listening === current && show(posted);
  const current = new Listening({
    ready: ifCurrent((ready) => {
      view = new View(ready);
      setSensitivity();
    }),
    step: ifCurrent((step) => view.step(step)),
    end: ifCurrent(({ events }) => {
      events.forEach((event) => view.events.push(event));
      view.draw();
      setListening(null);
    }),
    error: (text) => fail(current, text),
  });
  setListening(current);
  try {
    checkBrowser();
    await open(current);
  } catch (error) {
    fail(current, error instanceof PageError ? error.message : `This did not work: ${error.message}`);
  }
}

function setSensitivity() {
  const table = sensitivities[element("sensitivity").value];
  if (!table || !listening) return;
  listening.setThresholds(table);
  view?.setThresholds(table);
}

function offerSensitivities() {
  const names = Object.keys(sensitivities);
  element("sensitivity").append(...names.map((name) => new Option(name, name, name === "normal", name === "normal")));
  element("sensitivity").parentElement.hidden = names.length === 0;
  element("sensitivity").onchange = setSensitivity;
}

function fail(failed, text) {
  failed.abort();
  if (listening !== failed) return;
  setListening(null);
  say(text);
}

element("listen").onclick = () => {
  if (!listening) return begin((current) => current.microphone());
  if (listening.end()) return undefined;
  listening.abort(); // it still waits for a permission
  return setListening(null);
};
element("file").onchange = ({ target }) => {
  const [file] = target.files;
  target.value = ""; // so that the same file can be opened again
  if (file) begin((current) => current.file(file));
};
offerSensitivities();
darkScheme.onchange = () => view?.spectrogram.setColours();
document.onvisibilitychange = () => listening?.wake();
window.onresize = () => view?.draw();
say("");
