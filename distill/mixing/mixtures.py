"""Augmented mixtures: what teacher and student both hear.

Every mixture is drawn from its own seed, so that mixture `i` of a run is the same whoever
makes it, in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import oaconvolve

from distill.data.clip_store import ClipSource
from distill.mixing.bouts import find_bouts
from distill.mixing.codecs import CODECS, transcode
from edge_audio.bundle.spec import Spec
from edge_audio.support.arrays import FloatArray

Rng = np.random.Generator
Range = tuple[float, float]

MIN_BOUT_S = 0.08
MAX_SOURCES = 8
"""Clips in one mixture."""


class MixtureConfig(Spec, frozen=True):
    """How clips become training audio.

    duration_s: length of a mixture. Students hear it in whole tokens of 80 ms.
    n_sources_weights: relative odds of 0, 1, 2, ... overlapping clips.
    level_dbfs: range of the loudest clip's RMS level.
    relative_db: range of the other clips' levels against it.
    noise_dbfs: range of the coloured room noise, the one thing in a mixture of 0 clips.

    Odds per clip:
    speed, speed_factor: resample, which moves pitch and tempo together.
    reverb, reverb_s: a synthetic room of that decay time.
    low_pass, low_pass_hz: a steep low-pass, so that a recording's bandwidth does not give its
        class away.

    Odds per mixture, as heard through one device:
    hum: mains hum at 50 or 60 Hz with harmonics.
    overload: gain into a soft limiter.
    response, response_db: a smooth random frequency response with that standard deviation.
    codec: one of `codecs.CODECS`, there and back.
    """

    duration_s: float = 10.0
    n_sources_weights: tuple[float, ...] = (0.05, 0.25, 0.34, 0.22, 0.14)
    level_dbfs: Range = (-45.0, -10.0)
    relative_db: Range = (-15.0, 0.0)
    noise_dbfs: Range = (-90.0, -45.0)
    speed: float = 0.4
    speed_factor: Range = (0.85, 1.18)
    reverb: float = 0.2
    reverb_s: Range = (0.1, 0.8)
    low_pass: float = 0.3
    low_pass_hz: Range = (2500.0, 8000.0)
    hum: float = 0.08
    overload: float = 0.08
    response: float = 0.4
    response_db: float = 4.0
    codec: float = 0.15

    def __post_init__(self) -> None:
        odds = self.n_sources_weights
        if not 1 <= len(odds) <= MAX_SOURCES + 1 or min(odds) < 0.0 or sum(odds) <= 0.0:
            raise ValueError(
                f"n_sources_weights: name odds of 0 to at most {MAX_SOURCES} clips, none below 0 "
                "and one above"
            )
        if not 0.0 < self.duration_s < float("inf"):
            raise ValueError("duration_s must be greater than 0")


class Bout(NamedTuple):
    """`sources[position]` sounds from sample `start` to `stop`."""

    position: int
    start: int
    stop: int


class Mixture(NamedTuple):
    """samples f32[n], peaks within [-1, 1]; sources: positions in the store of what sounds;
    bouts: when, without those that are cut to less than MIN_BOUT_S."""

    samples: FloatArray
    sources: tuple[int, ...]
    bouts: tuple[Bout, ...]


class Mixer:
    """Draws mixtures of n_samples from the clips `indices` of a store."""

    def __init__(
        self,
        store: ClipSource,
        indices: Sequence[int],
        config: MixtureConfig,
        sample_rate_hz: int,
        n_samples: int,
        weights: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self.store, self.indices, self.config = store, np.asarray(indices), config
        self.sample_rate_hz, self.n_samples = sample_rate_hz, n_samples
        self.odds = None if weights is None else weights / weights.sum()

    def draw(self, seed: Sequence[int]) -> Mixture:
        """The mixture of this seed."""
        rng = np.random.default_rng(seed)
        config = self.config
        odds = np.asarray(config.n_sources_weights)
        n_sources = int(rng.choice(len(odds), p=odds / odds.sum()))
        level_db = rng.uniform(*config.level_dbfs)
        samples = coloured_noise(rng, self.n_samples, rng.uniform(*config.noise_dbfs))
        sources = tuple(int(rng.choice(self.indices, p=self.odds)) for _ in range(n_sources))
        bouts: list[Bout] = []
        for position, source in enumerate(sources):
            relative_db = rng.uniform(*config.relative_db) if position else 0.0
            clip = self._colour(rng, self.store[source])
            onsets = self._place(rng, samples, clip * level_gain(clip, level_db + relative_db))
            bouts += self._bouts(position, clip, onsets)
        heard = self._through_device(rng, samples)
        return Mixture(heard / max(1.0, float(np.abs(heard).max())), sources, tuple(bouts))

    def _place(self, rng: Rng, mixture: FloatArray, clip: FloatArray) -> list[int]:
        """Adds the clip at a random onset; half of the short clips repeat with gaps. Returns
        the onsets: that of a clip which is longer than the mixture is negative."""
        spare = self.n_samples - len(clip)
        if spare <= 0:
            start = int(rng.integers(0, 1 - spare))
            mixture += clip[start : start + self.n_samples]
            return [-start]
        onsets = [int(rng.integers(0, spare + 1))]
        repeats = rng.random() < 0.5
        while True:
            room = mixture[onsets[-1] : onsets[-1] + len(clip)]
            room += clip[: len(room)]
            gap = int(rng.exponential(0.5) * self.sample_rate_hz) if repeats else 0
            if not repeats or onsets[-1] + len(clip) + gap >= self.n_samples:
                return onsets
            onsets.append(onsets[-1] + len(clip) + gap)

    def _bouts(self, position: int, clip: FloatArray, onsets: Sequence[int]) -> Iterator[Bout]:
        """The bouts of a clip that was placed at these onsets, cut to the mixture."""
        shortest = MIN_BOUT_S * self.sample_rate_hz
        found = find_bouts(clip, self.sample_rate_hz, MIN_BOUT_S)
        for onset in onsets:
            for bout in found:
                start = max(0, onset + bout.start)
                stop = min(self.n_samples, onset + bout.stop)
                if stop - start >= shortest:
                    yield Bout(position, start, stop)

    def _colour(self, rng: Rng, clip: FloatArray) -> FloatArray:
        config, rate_hz = self.config, self.sample_rate_hz
        if rng.random() < config.speed:
            factor = rng.uniform(*config.speed_factor)
            clip = np.asarray(soxr.resample(clip, factor, 1.0, quality="LQ"), np.float32)
        if rng.random() < config.reverb:
            clip = reverberate(rng, clip, rng.uniform(*config.reverb_s), rate_hz)
        if rng.random() < config.low_pass:
            clip = _low_pass(clip, rng.uniform(*config.low_pass_hz), rate_hz)
        return clip

    def _through_device(self, rng: Rng, samples: FloatArray) -> FloatArray:
        config, rate_hz = self.config, self.sample_rate_hz
        if rng.random() < config.hum:
            samples = samples + _hum(rng, len(samples), rate_hz)
        if rng.random() < config.overload:
            gain = rng.uniform(1.0, 8.0) / max(float(np.abs(samples).max()), 1e-3)
            samples = np.tanh(samples * np.float32(gain))
        if rng.random() < config.response:
            samples = _filter_randomly(rng, samples, config.response_db, rate_hz)
        if rng.random() < config.codec:
            samples = transcode(samples, rate_hz, CODECS[int(rng.integers(len(CODECS)))])
        return samples


def coloured_noise(rng: Rng, n_samples: int, level_dbfs: float) -> FloatArray:
    """Gaussian noise with a random spectral slope between white and brown."""
    size = next_fast_len(n_samples, real=True)
    spectrum = rfft(rng.standard_normal(size, np.float32))
    bins = np.maximum(1.0, np.arange(len(spectrum), dtype=np.float32) / 50.0)
    noise = irfft(spectrum * bins ** np.float32(-rng.uniform(0.0, 1.0)), size)
    scaled: FloatArray = noise[:n_samples] * level_gain(noise, level_dbfs)
    return scaled


def level_gain(samples: FloatArray, level_dbfs: float) -> np.float32:
    """Factor that brings the RMS of the clip's louder half to the level: silence within a
    clip does not make its event too loud."""
    power = np.square(samples)
    loud = power[power >= np.median(power)]
    rms = np.sqrt(loud.mean()) if len(loud) else 0.0
    gain: np.float32 = np.float32(10.0 ** (level_dbfs / 20.0) / max(float(rms), 1e-5))
    return gain


def _low_pass(clip: FloatArray, cutoff_hz: float, sample_rate_hz: int) -> FloatArray:
    """Removes everything above the cut-off, with a soft edge of 10 %."""
    size = next_fast_len(len(clip), real=True)
    hz = np.fft.rfftfreq(size, 1.0 / sample_rate_hz)
    mask = np.clip((1.1 * cutoff_hz - hz) / (0.1 * cutoff_hz), 0.0, 1.0)
    filtered: FloatArray = irfft(rfft(clip, size) * mask.astype(np.float32), size)[: len(clip)]
    return filtered


def reverberate(rng: Rng, clip: FloatArray, decay_s: float, sample_rate_hz: int) -> FloatArray:
    """Convolves with exponentially decaying noise (60 dB in `decay_s`) after the direct sound."""
    n_tail = int(decay_s * sample_rate_hz)
    tail = rng.standard_normal(n_tail) * 10.0 ** (-3.0 * np.arange(n_tail) / n_tail)
    tail *= rng.uniform(0.1, 0.6) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    reverberant: FloatArray = oaconvolve(clip, tail)[: len(clip)].astype(np.float32)
    return reverberant


def _hum(rng: Rng, n_samples: int, sample_rate_hz: int) -> FloatArray:
    """The first eight harmonics of the mains at random levels and phases."""
    mains_hz = rng.choice((50.0, 60.0))
    time_s = np.arange(n_samples) / sample_rate_hz
    harmonics = mains_hz * np.arange(1, 9)[:, None]
    levels = 10.0 ** (rng.uniform(-80.0, -40.0, (8, 1)) / 20.0)
    phases = rng.uniform(0.0, 2.0 * np.pi, (8, 1))
    waves = levels * np.sin(2.0 * np.pi * harmonics * time_s + phases)
    hum: FloatArray = waves.sum(0).astype(np.float32)
    return hum


def _filter_randomly(
    rng: Rng, samples: FloatArray, response_db: float, sample_rate_hz: int
) -> FloatArray:
    """Zero-phase filter with a random gain at each octave, interpolated between them, and a
    high-pass as small microphones have it."""
    size = next_fast_len(len(samples), real=True)
    hz = np.fft.rfftfreq(size, 1.0 / sample_rate_hz)
    octaves = 31.25 * 2.0 ** np.arange(9)
    gains_db = rng.normal(0.0, response_db, len(octaves))
    gain_db = np.interp(np.log2(np.maximum(hz, 1.0)), np.log2(octaves), gains_db)
    high_pass = 1.0 / (1.0 + (rng.uniform(20.0, 250.0) / np.maximum(hz, 1.0)) ** 4)
    mask = (10.0 ** (gain_db / 20.0) * high_pass).astype(np.float32)
    noise: FloatArray = irfft(rfft(samples, size) * mask, size)[: len(samples)]
    return noise
