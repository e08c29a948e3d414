"""Series that stay small however long a log is: where they grow, they become coarser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

State = Literal["ended", "open", "cut"]


@dataclass(frozen=True)
class Segment:
    """One sounding of a label, or several that are too close together to be told apart.

    start_s, end_s: on the axis of the report. sounding_s: the sum over its n_events.
    state: open = it still sounded when the log ended, cut = when the listening was cut off.
    """

    start_s: float
    end_s: float
    sounding_s: float
    score: float
    n_events: int = 1
    state: State = "ended"

    @property
    def share(self) -> float:
        """Of the time from start to end, how much it sounded, up to 1."""
        length_s = self.end_s - self.start_s
        return min(1.0, self.sounding_s / length_s) if length_s > 0 else 1.0

    def joined(self, later: Segment) -> Segment:
        """This segment joined with one that begins no earlier."""
        return replace(
            later,
            start_s=self.start_s,
            end_s=max(self.end_s, later.end_s),
            sounding_s=self.sounding_s + later.sounding_s,
            score=max(self.score, later.score),
            n_events=self.n_events + later.n_events,
        )


def join_close(segments: list[Segment], gap_s: float) -> list[Segment]:
    """The segments sorted by start, where those that are no more than gap_s apart become one."""
    joined: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: segment.start_s):
        if joined and segment.start_s - joined[-1].end_s <= gap_s:
            joined[-1] = joined[-1].joined(segment)
        else:
            joined.append(segment)
    return joined


class Segments:
    """The soundings of one label. When there are too many, the closer half of all neighbours are
    joined."""

    def __init__(self, n_max: int = 1000) -> None:
        self._n_max = n_max
        self._segments: list[Segment] = []

    def add(self, segment: Segment) -> None:
        self._segments.append(segment)
        if len(self._segments) > self._n_max:
            segments = join_close(self._segments, 0.0)
            pauses_s = sorted(b.start_s - a.end_s for a, b in pairwise(segments))
            self._segments = join_close(segments, pauses_s[len(pauses_s) // 2] if pauses_s else 0.0)

    def apart(self, gap_s: float) -> list[Segment]:
        """The segments sorted by start, with more than gap_s between any two."""
        return join_close(self._segments, gap_s)


@dataclass
class Level:
    """What the level was during a stretch of time. start_s, end_s: on the axis of the report."""

    start_s: float
    end_s: float
    low_dbfs: float
    high_dbfs: float
    sum_dbfs: float
    n: int = 1

    @property
    def mean_dbfs(self) -> float:
        return self.sum_dbfs / self.n


class Levels:
    """Loudness over time, in stretches whose width doubles when there are too many."""

    def __init__(self, n_max: int = 2000) -> None:
        self._n_max = n_max
        self._width_s = 10.0
        self._bins: dict[int, Level] = {}

    def add(self, time_s: float, dbfs: float) -> None:
        self._put(Level(time_s, time_s, dbfs, dbfs, dbfs))
        while len(self._bins) > self._n_max:
            self._width_s *= 2
            finer, self._bins = self._bins, {}
            for level in finer.values():
                self._put(level)

    def _put(self, level: Level) -> None:
        index = int(level.start_s // self._width_s)
        known = self._bins.setdefault(index, level)
        if known is not level:
            known.start_s = min(known.start_s, level.start_s)
            known.end_s = max(known.end_s, level.end_s)
            known.low_dbfs = min(known.low_dbfs, level.low_dbfs)
            known.high_dbfs = max(known.high_dbfs, level.high_dbfs)
            known.sum_dbfs += level.sum_dbfs
            known.n += level.n

    def __iter__(self) -> Iterator[Level]:
        """Sorted by time."""
        return (self._bins[index] for index in sorted(self._bins))

    def __len__(self) -> int:
        return len(self._bins)


def unbroken(levels: list[Level]) -> list[list[Level]]:
    """The levels in stretches, cut where the next one comes much later than usual."""
    if len(levels) < 2:
        return [levels] if levels else []
    distances = sorted(after.start_s - before.start_s for before, after in pairwise(levels))
    usual_s = distances[len(distances) // 2]
    stretches = [[levels[0]]]
    for before, after in pairwise(levels):
        if after.start_s - before.start_s > 4 * usual_s:
            stretches.append([])
        stretches[-1].append(after)
    return stretches
