"""Events paired into segments of a recording."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink


@dataclass(frozen=True)
class Segment:
    """One event from start to end. score: the highest smoothed score in between."""

    start_s: float
    end_s: float
    label: str
    score: float


class SegmentSink(Sink):
    """Pairs starts with ends: `segments`, sorted by start once the stream has been flushed."""

    def __init__(self) -> None:
        self._starts_s: dict[str, float] = {}
        self._segments: list[Segment] = []

    @property
    def segments(self) -> list[Segment]:
        return sorted(self._segments, key=lambda segment: segment.start_s)

    @property
    def open_labels(self) -> Collection[str]:
        """Labels that have started and not ended."""
        return self._starts_s.keys()

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self._starts_s[event.label] = event.time_s
            return
        start_s = self._starts_s.pop(event.label)
        self._segments.append(Segment(start_s, event.time_s, event.label, event.score))
