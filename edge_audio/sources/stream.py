"""One stream of a listening run: its name, its counters and its clocks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from edge_audio.sources.base import Block, Source

SILENCE_DBFS = -90.0
_given_ids: deque[int] = deque(maxlen=1000)
_given_ids_lock = threading.Lock()


@dataclass
class Stats:
    """What a stream has heard, lost and cost so far.

    audio_s: seconds of audio that came. lost_s: seconds that were lost, as far as is known.
    n_unknown_gaps: losses of a length that nobody knows.
    heard_s: how far it was heard, on the clock of the source, lost audio included.
    n_restarts: how often the source was opened again after it broke, or tried to be.
    """

    audio_s: float = 0.0
    lost_s: float = 0.0
    heard_s: float = 0.0
    n_events: int = 0
    n_unknown_gaps: int = 0
    n_restarts: int = 0
    level_dbfs: float = SILENCE_DBFS
    _heard_at: datetime | None = None
    _cpu_start_s: float = field(default_factory=time.process_time)

    @property
    def load(self) -> float:
        """CPU seconds of the whole process per second of audio, display included."""
        cpu_s = time.process_time() - self._cpu_start_s
        return cpu_s / self.audio_s if self.audio_s else 0.0

    def count(self, block: Block, source: Source) -> None:
        """Takes note of a block about to be processed."""
        block_s = len(block.samples) / source.sample_rate_hz
        self.audio_s += block_s
        self.lost_s += block.n_lost_samples / source.sample_rate_hz
        self.n_unknown_gaps += block.has_unknown_gap
        self.heard_until(block.time_s + block_s)
        self.level_dbfs = level_dbfs(block.samples)
        self.n_restarts = source.n_restarts

    def heard_until(self, time_s: float) -> None:
        """Takes note of how far the source was heard, now."""
        self.heard_s, self._heard_at = time_s, datetime.now().astimezone()

    def heard_at(self, time_s: float) -> datetime:
        """Time of day, with its zone, of an audio time that was just heard: counted back from
        the moment at which `heard_s` was, so that all destinations give an event the same time.
        Neither the drift of a sound card nor a correction of the system's clock adds up over
        months."""
        heard_at = self._heard_at or datetime.now().astimezone()
        return heard_at - timedelta(seconds=max(0.0, self.heard_s - time_s))

    def summary(self) -> str:
        """One line for the end of a run."""
        return (
            f"{self.audio_s:.1f} s of audio, {self.n_events} events, "
            f"load {self.load:.1%} of one core, {lost(self.lost_s, self.n_unknown_gaps)}"
        )


class Sounding(NamedTuple):
    """An event that has started. id: see `Stream.new_event_id`. start_s: audio time."""

    id: int
    start_s: float


@dataclass
class Stream:
    """What sinks may know of the stream that they hear.

    name: unique within the run, such as "kitchen".
    labels: of all scores. sample_rate_hz: of the blocks.
    live: the audio is of this moment, so that it has a time of day.
    has_audio: sinks hear its blocks and know its level. Of a device that tags by itself only what
        it found comes here, and of its scores those that it was asked for; the others are 0.
    stats: counters that the listening thread keeps up to date; read them at any time.
    parents: labels that were taught -> the label that each is a kind of.
    sounding: label of each event that has started and was not yet told to have ended -> what is
        known of it; of the listening thread.
    held_back: labels that sound and that the report policy does not let pass. is_paused: whether no
        event is reported, whatever sounds. Both of the listening thread.
    """

    name: str
    labels: Sequence[str]
    sample_rate_hz: int
    live: bool
    has_audio: bool = True
    stats: Stats = field(default_factory=Stats)
    sounding: dict[str, Sounding] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    held_back: frozenset[str] = frozenset()
    is_paused: bool = False

    def wall_time(self, time_s: float) -> datetime | None:
        """Time of day, with its zone, of an audio time that was just heard; None for recordings."""
        return self.stats.heard_at(time_s) if self.live else None

    def wall_now(self) -> datetime | None:
        """Time of day, with its zone, of something that happens now; None for recordings."""
        return datetime.now().astimezone() if self.live else None

    def begin(self, label: str, time_s: float) -> Sounding:
        """An event starts."""
        self.sounding[label] = Sounding(self.new_event_id(time_s), time_s)
        return self.sounding[label]

    def new_event_id(self, time_s: float) -> int:
        """For an event that began at time_s: its time of day, in microseconds since 1970, and
        another one than that of all events shortly before. Of recordings it is the moment of the
        hearing, which rises however much faster than real time they are heard."""
        heard_at = self.stats.heard_at(time_s if self.live else self.stats.heard_s)
        event_id = round(heard_at.timestamp() * 1e6)
        with _given_ids_lock:
            while event_id in _given_ids:
                event_id += 1
            _given_ids.append(event_id)
        return event_id


def lost(lost_s: float, n_unknown_gaps: int) -> str:
    """How much audio was lost, in words."""
    if not lost_s and not n_unknown_gaps:
        return "nothing lost"
    plural = "s" if n_unknown_gaps > 1 else ""
    unknown = f" and {n_unknown_gaps} gap{plural} of unknown length" if n_unknown_gaps else ""
    return f"{lost_s:.3f} s{unknown} lost"


def level_dbfs(samples: np.ndarray) -> float:
    """RMS level of f32[n] in dB relative to a constant full-scale signal."""
    return level_of_power(float(samples @ samples) / len(samples) if len(samples) else 0.0)


def level_of_power(power: float) -> float:
    """In dBFS, of mean squares; no lower than that of silence."""
    return max(SILENCE_DBFS, 10.0 * float(np.log10(max(power, 1e-12))))
