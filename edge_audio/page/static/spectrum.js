// SPDX-License-Identifier: Apache-2.0
// The spectrogram of a whole clip: levels of 64 mel bands, as the model hears.

export const RATE_HZ = 16000;
export const N_MELS = 64;
const FFT_SIZE = 512;
const WINDOW_SAMPLES = 400;
const HOP_SAMPLES = 160; // longer where a clip would have more columns than can be seen
const MAX_COLUMNS = 1200;
const MIN_HZ = 50;
const QUIET_SHARE = 0.1; // of the levels, which are drawn as silence
const LEAST_RANGE = 6; // of the logarithm of power, so that silence is not blown up

const melOf = (hz) => 2595 * Math.log10(1 + hz / 700);

/** samples: Float32Array at RATE_HZ -> Uint8ClampedArray [n * N_MELS], column by column. */
export function clipLevels(samples) {
  const hop = Math.max(HOP_SAMPLES, Math.ceil(samples.length / MAX_COLUMNS));
  const nColumns = Math.max(1, Math.floor((samples.length - WINDOW_SAMPLES) / hop) + 1);
  const [real, imaginary] = [new Float64Array(FFT_SIZE), new Float64Array(FFT_SIZE)];
  const logs = new Float32Array(nColumns * N_MELS);
  for (let column = 0; column < nColumns; column++) {
    real.fill(0);
    imaginary.fill(0);
    for (let i = 0; i < WINDOW_SAMPLES; i++) real[i] = WINDOW[i] * (samples[column * hop + i] ?? 0);
    transform(real, imaginary);
    BANDS.forEach((weights, band) => {
      let power = 1e-7;
      for (const [bin, weight] of weights) power += weight * (real[bin] ** 2 + imaginary[bin] ** 2);
      logs[column * N_MELS + band] = Math.log(power);
    });
  }
  return spread(logs);
}

function spread(logs) {
  const sorted = Float32Array.from(logs).sort();
  const high = sorted[sorted.length - 1];
  const low = Math.min(sorted[Math.floor(QUIET_SHARE * sorted.length)], high - LEAST_RANGE);
  return Uint8ClampedArray.from(logs, (value) => (255 * (value - low)) / (high - low));
}

const WINDOW = Float64Array.from(
  { length: WINDOW_SAMPLES },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW_SAMPLES),
);

/** Triangles on the mel scale: of each band, [bin, weight]. */
const BANDS = Array.from({ length: N_MELS }, (_, band) => {
  const [low, high] = [melOf(MIN_HZ), melOf(RATE_HZ / 2)];
  const place = (bin) => ((melOf((bin * RATE_HZ) / FFT_SIZE) - low) / (high - low)) * (N_MELS + 1);
  const weights = [];
  for (let bin = 0; bin <= FFT_SIZE / 2; bin++) {
    const weight = 1 - Math.abs(place(bin) - band - 1);
    if (weight > 0) weights.push([bin, weight]);
  }
  return weights;
});

/** Radix-2 FFT, in place. */
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) butterflies(real, imaginary, size);
}

function butterflies(real, imaginary, size) {
  const half = size / 2;
  for (let k = 0; k < half; k++) {
    const [cos, sin] = [Math.cos((-2 * Math.PI * k) / size), Math.sin((-2 * Math.PI * k) / size)];
    for (let i = k; i < real.length; i += size) {
      const j = i + half;
      const [re, im] = [real[j] * cos - imaginary[j] * sin, real[j] * sin + imaginary[j] * cos];
      [real[j], imaginary[j]] = [real[i] - re, imaginary[i] - im];
      [real[i], imaginary[i]] = [real[i] + re, imaginary[i] + im];
    }
  }
}
