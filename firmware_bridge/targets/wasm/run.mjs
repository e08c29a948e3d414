#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Hears raw audio from a file or stdin and writes what it hears, one JSON object on a line, as the
// programs of the other targets do:
//
//   arecord -q -t raw -f S16_LE -r 16000 -c 1 | node run.mjs
import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { EdgeAudio } from "./edge_audio.js";

const USAGE = "usage: node run.mjs [--steps] [FILE], raw 16-bit mono; FILE - is stdin";
const HASH_START = 2166136261; // FNV-1a
const BLOCK_BYTES = 64 * 1024;

class Failure extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

function write(text) {
  for (let rest = Buffer.from(`${text}\n`); rest.length > 0; ) rest = rest.subarray(writeSync(1, rest));
}

function hash(start, scores) {
  const bytes = new Uint8Array(scores.buffer, scores.byteOffset, scores.byteLength);
  return bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 16777619), start) >>> 0;
}

const hex = (number) => number.toString(16).padStart(8, "0");

/** score >= 0 with six decimals, rounded in 32 bits as in C. */
function decimal(score) {
  const whole = Math.trunc(score);
  const scaled = Math.fround(Math.fround(score - whole) * Math.fround(1e6));
  const millionths = Math.trunc(Math.fround(scaled + 0.5));
  return `${whole + Math.floor(millionths / 1e6)}.${String(millionths % 1e6).padStart(6, "0")}`;
}

function writeEvent({ kind, label, sample, timeS, score }) {
  const fields = [
    `"kind":"${kind}"`,
    `"label":"${label.replace(/["\\]/g, "\\$&")}"`,
    `"sample":${sample}`,
    `"time_s":${timeS.toFixed(6)}`,
    `"score":${decimal(score)}`,
  ];
  write(`{${fields.join(",")}}`);
}

function openTagger() {
  const [module, image] = ["edge_audio.wasm", "edge_audio_image.bin"].map((name) =>
    fileURLToPath(new URL(name, import.meta.url)),
  );
  if (!existsSync(module)) throw new Failure(`${module} is missing: build the wasm target`, 1);
  return EdgeAudio.open(readFileSync(module), existsSync(image) ? readFileSync(image) : undefined);
}

/** Blocks of samples from a path or stdin; an odd last byte is left out. */
function* samplesOf(path) {
  const file = path === "-" ? 0 : openRecording(path);
  const block = Buffer.alloc(BLOCK_BYTES + 1);
  for (let nWaiting = 0, nRead; (nRead = readSome(file, block, nWaiting)) > 0; ) {
    const nBytes = nWaiting + nRead;
    const whole = Uint8Array.from(block.subarray(0, nBytes - (nBytes % 2)));
    yield new Int16Array(whole.buffer);
    nWaiting = nBytes % 2;
    block[0] = block[nBytes - 1];
  }
  closeSync(file);
}

function openRecording(path) {
  try {
    return openSync(path);
  } catch {
    throw new Failure("cannot open the recording", 1);
  }
}

function readSome(file, block, at) {
  for (;;) {
    try {
      return readSync(file, block, at, BLOCK_BYTES, null);
    } catch (error) {
      if (error.code === "EOF") return 0;
      if (error.code !== "EAGAIN") throw error; // stdin that has nothing yet
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function listen(path, withSteps) {
  const tagger = openTagger();
  let sum = HASH_START;
  const onStep = (events) => {
    events.forEach(writeEvent);
    sum = hash(sum, tagger.scores);
    if (withSteps) write(`{"step":${tagger.nSteps},"hash":"${hex(sum)}"}`);
  };
  for (const samples of samplesOf(path)) tagger.push(samples, onStep);
  const { nSteps, nSamples, imageCrc32, kernels } = tagger;
  write(
    `{"steps":${nSteps},"samples":${nSamples},"hash":"${hex(sum)}","image":"${hex(imageCrc32)}",` +
      `"kernels":"${kernels}","ticks":0,"ticks_hz":1}`,
  );
  tagger.flush().forEach(writeEvent);
}

function main(given) {
  const paths = given.filter((argument) => argument !== "--steps");
  if (paths.length > 1 || (paths[0]?.startsWith("-") && paths[0] !== "-"))
    throw new Failure(USAGE, 2);
  listen(paths[0] ?? "-", given.includes("--steps"));
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (error.code !== "EPIPE") write(JSON.stringify({ error: error.message }));
  process.exitCode = error.exitCode ?? 1;
}
