// SPDX-License-Identifier: Apache-2.0
// Runs the engine on the audio thread; posts what the page shows after each step.
import { DropCounter, EdgeAudio, Resampler } from "./edge_audio.js";

// Audio worklets have no performance.now in most browsers. Whole milliseconds are enough, since
// times are averaged over many steps.
const nowMs = () => globalThis.performance?.now() ?? Date.now();

class EdgeAudioProcessor extends AudioWorkletProcessor {
  #tagger = null;
  #resampler = null;
  #drops = new DropCounter();
  #startFrame = currentFrame;
  #busyMs = 0; // since the step before
  #squares = 0;
  #peak = 0;
  #nSamples = 0;
  #events = [];
  #isEnded = false;

  /** processorOptions: {wasm: ArrayBuffer, image: ArrayBuffer or undefined}. Posts {ready}
   * or {error}, then {step} after each step, and {end} when it is asked to "end"; takes
   * {thresholds: {label: [on, off]}}, without which a label is off. */
  constructor({ processorOptions }) {
    super();
    this.port.onmessage = ({ data }) => (data === "end" ? this.#end() : this.#setThresholds(data.thresholds));
    try {
      this.#open(processorOptions);
    } catch (error) {
      this.port.postMessage({ error: String(error.message ?? error) });
      this.#isEnded = true;
    }
  }

  process([[samples]]) {
    if (this.#isEnded) return false;
    if (samples === undefined) return true; // nothing is connected yet
    const startMs = nowMs();
    this.#drops.push(startMs / 1000, (currentFrame - this.#startFrame) / sampleRate);
    this.#measure(samples);
    const resampled = this.#resampler ? this.#resampler.push(samples) : samples;
    let isStep = false;
    this.#events.push(...this.#tagger.push(resampled, () => (isStep = true)));
    const logMel = isStep ? this.#tagger.logMel() : null;
    this.#busyMs += nowMs() - startMs;
    if (isStep) this.#post(logMel);
    return true;
  }

  #open({ wasm, image }) {
    this.#tagger = EdgeAudio.open(wasm, image);
    const { labels, sampleRateHz, stepSamples, nFrames, nMels, imageCrc32 } = this.#tagger;
    if (sampleRate !== sampleRateHz) this.#resampler = new Resampler(sampleRate, sampleRateHz);
    const thresholds = this.#tagger.thresholds();
    const stepMs = (1000 * stepSamples) / sampleRateHz;
    this.port.postMessage({ ready: { labels, thresholds, stepMs, nFrames, nMels, imageCrc32 } });
  }

  #setThresholds(table) {
    for (const label of this.#tagger?.labels ?? []) this.#tagger.setThreshold(label, ...(table[label] ?? [0, 0]));
  }

  #measure(samples) {
    for (const sample of samples) {
      this.#squares += sample * sample;
      this.#peak = Math.max(this.#peak, Math.abs(sample));
    }
    this.#nSamples += samples.length;
  }

  #post(logMel) {
    const scores = this.#tagger.scores.slice();
    const step = {
      n: this.#tagger.nSteps,
      scores,
      logMel,
      events: this.#events,
      rms: Math.sqrt(this.#squares / this.#nSamples),
      peak: this.#peak,
      busyMs: this.#busyMs,
      droppedS: this.#drops.droppedS,
    };
    this.port.postMessage({ step }, [scores.buffer, logMel.buffer]);
    this.#events = [];
    this.#busyMs = this.#squares = this.#peak = this.#nSamples = 0;
  }

  #end() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.port.postMessage({ end: { events: this.#tagger.flush() } });
  }
}

registerProcessor("edge-audio", EdgeAudioProcessor);
