"""A take as it might sound another time: quieter, noisier, faster, in another room."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr

from edge_audio.support.arrays import FloatArray

N_CHANGES = 6
_GAINS_DB = (-18.0, 6.0)
_SNR_DB = (15.0, 40.0)
_SPEEDS = (0.94, 1.06)
_ROOM_S = (0.1, 0.5)
_DIRECT_SHARE = (0.3, 0.9)


def changed(samples: FloatArray, sample_rate_hz: int, seed: int) -> Iterator[FloatArray]:
    """f32[n] -> N_CHANGES times about as many samples, within [-1, 1]. The same seed gives the
    same."""
    rng = np.random.default_rng(seed)
    for index in range(N_CHANGES):
        speed = rng.uniform(*_SPEEDS) if index % 2 else 1.0
        made = samples if speed == 1.0 else soxr.resample(samples, 1_000.0 * speed, 1_000.0)
        if index % 3 == 1:
            made = _in_room(rng, made, sample_rate_hz)
        made = _noisy(rng, made * _ratio(rng.uniform(*_GAINS_DB)))
        yield np.clip(made, -1.0, 1.0).astype(np.float32)


def _in_room(rng: np.random.Generator, samples: FloatArray, sample_rate_hz: int) -> FloatArray:
    """With a tail of noise that decays by 60 dB, behind the direct sound."""
    room_s = rng.uniform(*_ROOM_S)
    n = round(room_s * sample_rate_hz)
    tail = rng.standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / n)
    tail *= 1.0 / np.sqrt(np.square(tail).sum())
    direct = rng.uniform(*_DIRECT_SHARE)
    n_fft = 1 << (len(samples) + n - 1).bit_length()
    spectrum = np.fft.rfft(samples, n_fft) * np.fft.rfft(tail, n_fft)
    wet = np.fft.irfft(spectrum, n_fft)[: len(samples)]
    return np.asarray(direct * samples + (1.0 - direct) * wet, np.float32)


def _noisy(rng: np.random.Generator, samples: FloatArray) -> FloatArray:
    """Over noise whose power falls by between 0 and 6 dB an octave."""
    n_fft = 1 << max(1, len(samples) - 1).bit_length()
    shape = np.arange(1, n_fft // 2 + 2) ** -rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(shape * np.fft.rfft(rng.standard_normal(n_fft)), n_fft)[: len(samples)]
    snr_db = rng.uniform(*_SNR_DB)
    power = np.square(samples, dtype=np.float64).mean() / max(np.square(noise).mean(), 1e-12)
    return np.asarray(samples + noise * np.sqrt(power) * _ratio(-snr_db), np.float32)


def _ratio(level_db: float) -> float:
    return float(10.0 ** (level_db / 20.0))
