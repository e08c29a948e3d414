// What test_wasm.py asks of edge_audio.js: node --expose-gc engine_probe.mjs PROBE FOLDER < PCM.
// Each probe writes JSON, one value on a line.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [probe, folder] = process.argv.slice(2);
const url = pathToFileURL(`${folder}/edge_audio.js`);
const { DropCounter, EdgeAudio, Resampler } = await import(url);

const module = () => readFileSync(`${folder}/edge_audio.wasm`);
const image = () => readFileSync(`${folder}/edge_audio_image.bin`);
const tell = (value) => console.log(JSON.stringify(value));

function recording() {
  const bytes = Uint8Array.from(readFileSync(0));
  return new Int16Array(bytes.buffer);
}

function messageOf(call) {
  try {
    call();
    return "";
  } catch (error) {
    return error.message;
  }
}

/** Events and scores for chunks of several sizes, and for floats. */
function chunks() {
  const samples = recording();
  const floats = Float32Array.from(samples, (sample) => sample / 32768);
  const tagger = EdgeAudio.open(module(), image());
  for (const [audio, size] of [[samples, 160000], [samples, 128], [floats, 4111], [samples, 1280]]) {
    const [events, steps] = [[], []];
    const keep = () => steps.push([...tagger.scores]);
    for (let start = 0; start < audio.length; start += size)
      events.push(...tagger.push(audio.subarray(start, start + size), keep));
    events.push(...tagger.flush());
    tell({ events, steps });
  }
}

/** The recording 61 times: bytes of memory, and what the heap has gained from half of it on. */
async function memory() {
  const samples = recording();
  const { instance } = await WebAssembly.instantiate(module());
  const tagger = new EdgeAudio(instance, image());
  const { buffer } = instance.exports.memory;
  const used = [];
  for (let k = 0; k <= 60; k++) {
    tagger.push(samples, () => tagger.logMel());
    if (k % 30 !== 0) continue;
    globalThis.gc();
    used.push(process.memoryUsage().heapUsed);
  }
  const isSame = buffer === instance.exports.memory.buffer;
  tell({ isSame, nBytes: buffer.byteLength, grown: used[2] - used[1], nSteps: tagger.nSteps });
}

/** All labels off but Dog: what is heard, and what is said of wrong ones. */
function thresholds() {
  const tagger = EdgeAudio.open(module(), image());
  for (const label of tagger.labels) tagger.setThreshold(label, 0, 0);
  tagger.setThreshold("Dog", 0.3);
  const events = [...tagger.push(recording()), ...tagger.flush()];
  const heard = [...new Set(events.map(({ label }) => label))];
  const dog = tagger.thresholds()[tagger.labels.indexOf("Dog")];
  const unknown = messageOf(() => tagger.setThreshold("Dragon", 0.5));
  const outside = messageOf(() => tagger.setThreshold("Dog", 7));
  tell({ heard, dog, unknown, outside });
}

/** The number of starts of related labels that are all on, and what is said of a wrong choice. */
function related() {
  const tagger = EdgeAudio.open(module(), image());
  for (const label of ["Animal", "Dog", "Bark"]) tagger.setThreshold(label, 0.1);
  const names = new Set(["Animal", "Dog", "Bark"]);
  const nStarts = () =>
    [...tagger.push(recorded), ...tagger.flush()].filter(
      ({ kind, label }) => kind === "start" && names.has(label),
    ).length;
  const recorded = recording();
  const usual = nStarts();
  tagger.setRelated("all");
  const all = nStarts();
  tagger.setRelated("most-specific");
  tell({ usual, all, again: nStarts(), unknown: messageOf(() => tagger.setRelated("none")) });
}

/** What is said of no image, an empty, a short, an altered and a huge one. */
function images() {
  const altered = Uint8Array.from(image());
  altered[altered.length - 100] ^= 1;
  const short = image().subarray(0, 1000);
  for (const given of [undefined, new Uint8Array(0), short, altered, new Uint8Array(9 << 20)])
    tell(messageOf(() => EdgeAudio.open(module(), given)));
}

/** Log-mel frames of the last step of the recording. */
function logMel() {
  const samples = recording();
  const tagger = EdgeAudio.open(module(), image());
  tagger.push(samples.subarray(0, 1520 + 20 * 1280));
  tell([...tagger.logMel()]);
}

function resampled(rateHz, toneHz, nBlock) {
  const resampler = new Resampler(rateHz, 16000);
  const tone = (_, i) => Math.sin((2 * Math.PI * toneHz * i) / rateHz);
  const input = Float32Array.from({ length: rateHz }, tone);
  const output = [];
  for (let i = 0; i < rateHz; i += nBlock) output.push(...resampler.push(input.subarray(i, i + nBlock)));
  return output;
}

/** The error against the ideal of one second of a tone, in dB of the tone. */
function resampler() {
  const tones = [[48000, 1000], [44100, 3000], [48000, 7000], [48000, 9000], [44100, 12000]];
  for (const [rateHz, toneHz] of tones) {
    const output = resampled(rateHz, toneHz, 128);
    const isSame = String(output) === String(resampled(rateHz, toneHz, 4111));
    const ideal = (i) => (toneHz < 8000 ? Math.sin((2 * Math.PI * toneHz * i) / 16000) : 0);
    let error = 0;
    for (let i = 1000; i < 15000; i++) error += (output[i] - ideal(i)) ** 2;
    tell({ toneHz, n: output.length, errorDb: 10 * Math.log10(error / 7000), isSame });
  }
}

/** Seconds noticed of none and of half a second lost, with jitter, and a clock that drifts. */
function drops() {
  for (const lostS of [0, 0.5]) {
    const counter = new DropCounter();
    let wallS = 1e9;
    for (let block = 0; block < 20000; block++) {
      if (block === 9000) wallS += lostS;
      wallS += 0.008;
      const jitterS = (0.03 * ((block * 7919) % 97)) / 97;
      counter.push(wallS + jitterS, block * 0.008 * (1 - 1e-4));
    }
    tell(counter.droppedS);
  }
}

await { chunks, memory, thresholds, related, images, logMel, resampler, drops }[probe]();
