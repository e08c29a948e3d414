"""Augmented mixtures: what teacher and student both hear.

Every mixture is drawn from its own seed, so that mixture `i` of a run is the same whoever
makes it, in whatever order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import oaconvolve

from distill.data import ClipStore
from edge_audio.spec import Spec

FloatArray = NDArray[np.float32]
Rng = np.random.Generator


class MixtureConfig(Spec, frozen=True):
    """How clips become training audio. Probabilities are per mixture unless said otherwise.

    duration_s: length of a mixture.
    n_sources_weights: relative odds of 0, 1, 2, ... overlapping clips.
    level_dbfs: range of the loudest clip's RMS level.
    relative_db: range of the other clips' levels against it.
    noise_dbfs: range of the coloured room noise.
    low_pass, low_pass_hz: odds (per clip) and cut-off range of a steep low-pass, so that a
        recording's bandwidth does not give its class away.
    reverb, reverb_s: odds (per clip) and decay time range of a synthetic room.
    """

    duration_s: float = 10.0
    n_sources_weights: tuple[float, ...] = (0.04, 0.4, 0.34, 0.22)
    level_dbfs: tuple[float, float] = (-45.0, -10.0)
    relative_db: tuple[float, float] = (-15.0, 0.0)
    noise_dbfs: tuple[float, float] = (-90.0, -45.0)
    low_pass: float = 0.3
    low_pass_hz: tuple[float, float] = (2500.0, 8000.0)
    reverb: float = 0.15
    reverb_s: tuple[float, float] = (0.1, 0.8)


class Mixer:
    """Draws mixtures f32[n_samples] from the clips `indices` of a store."""

    def __init__(
        self,
        store: ClipStore,
        indices: Sequence[int],
        config: MixtureConfig,
        sample_rate_hz: int,
        n_samples: int,
        weights: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self.store, self.indices, self.config = store, np.asarray(indices), config
        self.sample_rate_hz, self.n_samples = sample_rate_hz, n_samples
        self.odds = None if weights is None else weights / weights.sum()

    def draw(self, seed: Sequence[int]) -> FloatArray:
        """The mixture of this seed, peaks within [-1, 1]."""
        rng = np.random.default_rng(seed)
        config = self.config
        odds = np.asarray(config.n_sources_weights)
        n_sources = int(rng.choice(len(odds), p=odds / odds.sum()))
        level_db = rng.uniform(*config.level_dbfs)
        mixture = self._noise(rng, rng.uniform(*config.noise_dbfs))
        for position in range(n_sources):
            relative_db = rng.uniform(*config.relative_db) if position else 0.0
            clip = self.store[int(rng.choice(self.indices, p=self.odds))]
            clip = self._colour(rng, clip)
            self._place(rng, mixture, clip * _gain(clip, level_db + relative_db))
        return mixture / max(1.0, float(np.abs(mixture).max()))

    def _place(self, rng: Rng, mixture: FloatArray, clip: FloatArray) -> None:
        """Adds the clip at a random onset; half of the short clips repeat with gaps."""
        spare = self.n_samples - len(clip)
        if spare <= 0:
            start = int(rng.integers(0, 1 - spare))
            mixture += clip[start : start + self.n_samples]
            return
        onset = int(rng.integers(0, spare + 1))
        repeats = rng.random() < 0.5
        while onset < self.n_samples:
            room = mixture[onset : onset + len(clip)]
            room += clip[: len(room)]
            if not repeats:
                return
            onset += len(clip) + int(rng.exponential(0.5) * self.sample_rate_hz)

    def _colour(self, rng: Rng, clip: FloatArray) -> FloatArray:
        config = self.config
        if rng.random() < config.reverb:
            clip = _reverberate(rng, clip, rng.uniform(*config.reverb_s), self.sample_rate_hz)
        if rng.random() < config.low_pass:
            clip = _low_pass(clip, rng.uniform(*config.low_pass_hz), self.sample_rate_hz)
        return clip

    def _noise(self, rng: Rng, level_dbfs: float) -> FloatArray:
        """Gaussian noise with a random spectral slope between white and brown."""
        size = next_fast_len(self.n_samples, real=True)
        spectrum = rfft(rng.standard_normal(size, np.float32))
        bins = np.maximum(1.0, np.arange(len(spectrum), dtype=np.float32) / 50.0)
        noise = irfft(spectrum * bins ** np.float32(-rng.uniform(0.0, 1.0)), size)
        return noise[: self.n_samples] * _gain(noise, level_dbfs)


def _gain(samples: FloatArray, level_dbfs: float) -> np.float32:
    """Factor that brings the RMS of the clip's louder half to the level: silence within a
    clip does not make its event too loud."""
    power = np.square(samples)
    loud = power[power >= np.median(power)]
    rms = np.sqrt(loud.mean()) if len(loud) else 0.0
    return np.float32(10.0 ** (level_dbfs / 20.0) / max(float(rms), 1e-5))


def _low_pass(clip: FloatArray, cutoff_hz: float, sample_rate_hz: int) -> FloatArray:
    """Removes everything above the cut-off, with a soft edge of 10 %."""
    size = next_fast_len(len(clip), real=True)
    hz = np.fft.rfftfreq(size, 1.0 / sample_rate_hz)
    mask = np.clip((1.1 * cutoff_hz - hz) / (0.1 * cutoff_hz), 0.0, 1.0)
    return irfft(rfft(clip, size) * mask.astype(np.float32), size)[: len(clip)]


def _reverberate(rng: Rng, clip: FloatArray, decay_s: float, sample_rate_hz: int) -> FloatArray:
    """Convolves with exponentially decaying noise (60 dB in `decay_s`) after the direct sound."""
    n_tail = int(decay_s * sample_rate_hz)
    tail = rng.standard_normal(n_tail) * 10.0 ** (-3.0 * np.arange(n_tail) / n_tail)
    tail *= rng.uniform(0.1, 0.6) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return oaconvolve(clip, tail)[: len(clip)].astype(np.float32)
