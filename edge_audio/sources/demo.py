"""A scene synthesised on the fly, to have something to listen to without a microphone.

The names say what is played, not what a model will say about it; strong listeners name each sound,
and `python benchmarks/demo_events.py` prints what a model makes of them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count

import numpy as np

from edge_audio.sources.base import Block
from edge_audio.sources.demo_sounds import (
    Synthesis,
    birds,
    brook,
    clock,
    dog,
    doorbell,
    quiet_room,
    siren,
    smoke_alarm,
    surf,
    telephone,
)
from edge_audio.support.arrays import FloatArray


@dataclass(frozen=True)
class Segment:
    """One sound of the scene.

    labels: those of AudioSet that name it, whichever of them is heard.
    """

    name: str
    duration_s: float
    synthesise: Synthesis
    labels: tuple[str, ...]


SCENE = (
    Segment("quiet room", 1.0, quiet_room, ("Silence",)),
    Segment("dog", 5.0, dog, ("Dog", "Bark")),
    Segment("quiet room", 2.0, quiet_room, ("Silence",)),
    Segment(
        "birds", 6.0, birds, ("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet")
    ),
    Segment("siren", 8.0, siren, ("Siren", "Emergency vehicle", "Police car (siren)")),
    Segment("surf", 10.0, surf, ("Ocean", "Waves, surf")),
    Segment("doorbell", 3.0, doorbell, ("Doorbell", "Ding-dong")),
    Segment("telephone", 6.0, telephone, ("Telephone", "Telephone bell ringing")),
    Segment("brook", 6.0, brook, ("Stream", "Water")),
    Segment(
        "smoke alarm", 8.0, smoke_alarm, ("Smoke detector, smoke alarm", "Fire alarm", "Alarm")
    ),
    Segment("quiet room", 2.0, quiet_room, ("Silence",)),
    Segment("clock", 6.0, clock, ("Clock", "Tick-tock", "Tick")),
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
