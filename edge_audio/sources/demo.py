"""A scene synthesised on the fly, to have something to listen to without a microphone.

Each sound follows the physics of what it is named after (see the functions); no recording is
used. The names say what is played, not what a model will say about it.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, count

import numpy as np
from numpy.typing import NDArray

from edge_audio.sources.base import Block
from edge_audio.support.arrays import FloatArray

Synthesis = Callable[[np.random.Generator, int, int], FloatArray]
"""(random generator, n_samples, rate_hz) -> f32[n_samples] within [-1, 1]."""


def _seconds(n_samples: int, rate_hz: int) -> FloatArray:
    return (np.arange(n_samples) / rate_hz).astype(np.float32)


def _noise(
    rng: np.random.Generator, n_samples: int, rate_hz: int, low_hz: float, tilt: float
) -> FloatArray:
    """Noise of unit power without anything below low_hz; amplitude falls as 1 / f ** tilt."""
    hz = np.maximum(np.fft.rfftfreq(n_samples, 1.0 / rate_hz), 1.0)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    noise = np.fft.irfft(spectrum * (hz >= low_hz) / hz**tilt, n_samples)
    sound: FloatArray = (noise / noise.std()).astype(np.float32)
    return sound


def _tone(phase_cycles: FloatArray, hz: FloatArray, rate_hz: int, tilt: float) -> FloatArray:
    """Harmonics k of amplitude 1 / k ** tilt (tilt 1: a sawtooth), none beyond half the rate."""
    top_hz = 0.45 * rate_hz
    harmonics = range(1, max(1, int(top_hz / hz.min())) + 1)
    tone = sum(
        np.sin(2 * np.pi * k * phase_cycles) * (k * hz <= top_hz) / k**tilt for k in harmonics
    )
    return np.asarray(tone, np.float32)


Partials = list[tuple[float, float, float]]
"""(hz, amplitude, decay_s) of each mode of a thing that rings when it is hit."""


def _struck(hits: FloatArray, partials: Partials, rate_hz: int) -> FloatArray:
    """f32[n]: what rings when it is hit at each sample of `hits` f32[n] that is not zero."""
    n_samples = len(hits)
    t_s = _seconds(n_samples, rate_hz)
    response = sum(
        amplitude * np.exp(-t_s / decay_s) * np.sin(2 * np.pi * hz * t_s)
        for hz, amplitude, decay_s in partials
    )
    spectrum = np.fft.rfft(hits, 2 * n_samples) * np.fft.rfft(response, 2 * n_samples)
    return np.fft.irfft(spectrum, 2 * n_samples)[:n_samples].astype(np.float32)


def _hits(at_s: NDArray[np.float64], n_samples: int, rate_hz: int) -> FloatArray:
    """f32[n_samples]: 1 at each of these times, 0 elsewhere."""
    hits = np.zeros(n_samples, np.float32)
    hits[(at_s * rate_hz).astype(int)] = 1.0
    return hits


def quiet_room(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Pink noise at -60 dB and a trace of mains hum."""
    hum = np.sin(2 * np.pi * 100.0 * _seconds(n_samples, rate_hz)).astype(np.float32)
    noise = _noise(rng, n_samples, rate_hz, 30.0, tilt=0.5)
    sound: FloatArray = np.float32(1e-3) * noise + np.float32(2e-4) * hum
    return sound


def smoke_alarm(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A 3.1 kHz piezo horn in the temporal-three pattern of ISO 8201: three times half a second
    on and half a second off, then another second and a half off."""
    t_s = _seconds(n_samples, rate_hz)
    in_cycle_s = t_s % 4.0
    in_pulse_s = in_cycle_s % 1.0
    envelope = np.clip(np.minimum(in_pulse_s, 0.5 - in_pulse_s) / 0.005, 0.0, 1.0)
    envelope = envelope * (in_cycle_s < 3.0)
    hz = np.full(n_samples, 3100.0, np.float32)
    horn = 0.4 * envelope * _tone(3100.0 * t_s, hz, rate_hz, tilt=1.5)
    sound: FloatArray = quiet_room(rng, n_samples, rate_hz) + horn
    return sound


def siren(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """An electronic wail: a horn swept from 600 to 1350 Hz and back every four seconds."""
    t_s = _seconds(n_samples, rate_hz)
    hz = (975.0 - 375.0 * np.cos(2 * np.pi * t_s / 4.0)).astype(np.float32)
    phase = np.cumsum(hz, dtype=np.float64) / rate_hz
    sound: FloatArray = np.float32(0.25) * _tone(phase.astype(np.float32), hz, rate_hz, tilt=1.0)
    return sound


def rain(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Drops at random, 800 a second, of all sizes, over the hiss of those too far to tell apart.
    Each rings for a few milliseconds, as the bubble under a drop does."""
    drops = 0.04 * _noise(rng, n_samples, rate_hz, 300.0, tilt=0.3)
    n_drops = 200 * n_samples // rate_hz
    for hz in np.geomspace(1500.0, 7000.0, 4):
        hits = np.zeros(n_samples, np.float32)
        hits[rng.integers(0, n_samples, n_drops)] = rng.exponential(0.02, n_drops)
        drops += _struck(hits, [(hz, 1.0, 0.0015)], rate_hz)
    return drops


def surf(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A wave every five seconds: a rumble that swells, and breaks into a brighter hiss."""
    wave = (_seconds(n_samples, rate_hz) % 5.0) / 5.0
    swell = 0.2 + np.sin(np.pi * wave) ** 2
    breaking = np.where(wave < 0.5, (2 * wave) ** 4, np.exp(-(wave - 0.5) * 6.0))
    rumble = _noise(rng, n_samples, rate_hz, 40.0, tilt=1.0)
    hiss = _noise(rng, n_samples, rate_hz, 300.0, tilt=0.5)
    sound: FloatArray = (0.07 * swell * rumble + 0.12 * breaking * hiss).astype(np.float32)
    return sound


def clock(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A small clock: four beats a second, each two knocks of the escapement within 8 ms; tick
    and tock differ in pitch."""
    ticking = quiet_room(rng, n_samples, rate_hz)
    knocks = [(2300.0, 0.06, 0.002), (3900.0, 0.12, 0.0012), (6100.0, 0.12, 0.0008)]
    for first_s, pitch in ((0.1, 1.0), (0.35, 1.12)):
        beats_s = np.arange(first_s, n_samples / rate_hz - 0.1, 0.5)
        hits = _hits(beats_s, n_samples, rate_hz) + 0.6 * _hits(beats_s + 0.008, n_samples, rate_hz)
        ticking += _struck(hits, [(hz * pitch, a, decay_s) for hz, a, decay_s in knocks], rate_hz)
    return ticking


def dog(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Barks of 0.15 s: a rough voice whose pitch jumps to some 650 Hz and falls, with breath,
    through a mouth that resonates around 1.2 kHz."""
    barking = quiet_room(rng, n_samples, rate_hz)
    n_bark = 3 * rate_hz // 20
    for start_s in np.arange(0.3, n_samples / rate_hz - 0.5, 0.6) + rng.uniform(0.0, 0.15):
        start = int(start_s * rate_hz)
        barking[start : start + n_bark] += _bark(rng, n_bark, rate_hz)
    return barking


def _bark(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    progress = np.linspace(0.0, 1.0, n_samples, dtype=np.float32)
    jitter = 1.0 + 0.06 * _noise(rng, n_samples, rate_hz, 20.0, tilt=0.5)
    hz = rng.uniform(0.9, 1.1) * jitter * (400.0 + 250.0 * np.sin(np.pi * progress**0.5))
    phase = np.cumsum(hz, dtype=np.float64) / rate_hz
    voice = _tone(phase.astype(np.float32), np.maximum(hz, 100.0), rate_hz, tilt=0.7)
    breath = 0.6 * _noise(rng, n_samples, rate_hz, 300.0, tilt=0.3)
    spectrum_hz = np.fft.rfftfreq(n_samples, 1.0 / rate_hz)
    mouth = 1.0 / (1.0 + ((spectrum_hz - 1200.0) / 600.0) ** 2)
    voiced = np.fft.irfft(np.fft.rfft(voice + breath) * mouth, n_samples)
    envelope = np.minimum(progress / 0.08, (1.0 - progress) ** 1.5)
    sound: FloatArray = (0.25 * envelope * voiced).astype(np.float32)
    return sound


def doorbell(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """Ding-dong: two struck metal bars (E5, C5) with a bar's overtones at 2.76 and 5.40."""
    chime = quiet_room(rng, n_samples, rate_hz)
    for at_s, hz in ((0.3, 659.3), (1.0, 523.3)):
        bar = [(hz, 0.3, 0.8), (2.76 * hz, 0.12, 0.3), (5.40 * hz, 0.05, 0.1)]
        chime += _struck(_hits(np.array([at_s]), n_samples, rate_hz), bar, rate_hz)
    return chime


def telephone(rng: np.random.Generator, n_samples: int, rate_hz: int) -> FloatArray:
    """A bell telephone: a clapper between two gongs, 20 strikes on each per second, two seconds
    on and one off."""
    ringing = quiet_room(rng, n_samples, rate_hz)
    strikes_s = np.arange(0.0, n_samples / rate_hz, 1.0 / 40.0)
    strikes_s = strikes_s[strikes_s % 3.0 < 2.0]
    for gong, tones_hz in enumerate(((1050.0, 2240.0, 3650.0), (1310.0, 2790.0, 4470.0))):
        hits = _hits(strikes_s[gong::2], n_samples, rate_hz)
        ringing += _struck(hits, [(hz, 0.05, 0.1) for hz in tones_hz], rate_hz)
    return ringing


@dataclass(frozen=True)
class Segment:
    """One sound of the scene."""

    name: str
    duration_s: float
    synthesise: Synthesis


SCENE = (
    Segment("quiet room", 3.0, quiet_room),
    Segment("smoke alarm", 8.0, smoke_alarm),
    Segment("quiet room", 2.0, quiet_room),
    Segment("siren", 8.0, siren),
    Segment("rain", 7.0, rain),
    Segment("surf", 10.0, surf),
    Segment("clock", 6.0, clock),
    Segment("dog", 5.0, dog),
    Segment("doorbell", 4.0, doorbell),
    Segment("telephone", 6.0, telephone),
)


class DemoScene:
    """The scene over and over; each round has its own noise, fixed by the seed.

    It comes as fast as it is consumed; `edge_audio.sources.base.paced` plays it in real time.
    round_s: seconds per round.
    """

    live = False
    waits = True
    max_burst_s = 0.0
    n_restarts = 0
    name = "demo"

    def __init__(self, sample_rate_hz: int = 16_000, seed: int = 0, block_ms: float = 80.0) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._seed = seed
        self._n_block = max(1, round(sample_rate_hz * block_ms / 1000.0))
        self._ends_s = list(accumulate(segment.duration_s for segment in SCENE))
        self.round_s = self._ends_s[-1]

    def __enter__(self) -> DemoScene:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing: there is nothing to close."""

    def stop(self) -> None:
        """Does nothing: the scene never waits."""

    def segment_at(self, time_s: float) -> str:
        """Name of what sounds at this audio time."""
        return SCENE[bisect.bisect_right(self._ends_s, time_s % self.round_s)].name

    def blocks(self) -> Iterator[Block]:
        """Endless blocks of block_ms, in which segments follow each other without a gap."""
        pending = np.zeros(0, np.float32)
        position = 0
        for samples in self._segments():
            pending = np.concatenate([pending, samples])
            while len(pending) >= self._n_block:
                yield Block(pending[: self._n_block], position / self.sample_rate_hz)
                pending = pending[self._n_block :]
                position += self._n_block

    def first(self, duration_s: float) -> FloatArray:
        """f32[n]: how the scene begins."""
        n_samples, n_held = round(duration_s * self.sample_rate_hz), 0
        pieces: list[FloatArray] = []
        segments = self._segments()
        while n_held < n_samples:
            pieces.append(next(segments))
            n_held += len(pieces[-1])
        return np.concatenate(pieces)[:n_samples]

    def _segments(self) -> Iterator[FloatArray]:
        """One segment at a time, so that memory and start-up do not grow with the scene."""
        for n_round in count():
            rng = np.random.default_rng([self._seed, n_round])
            for segment in SCENE:
                n_samples = round(segment.duration_s * self.sample_rate_hz)
                yield segment.synthesise(rng, n_samples, self.sample_rate_hz)
