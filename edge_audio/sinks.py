"""Where events and scores go: lines of text, JSON lines, segments of a recording."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

import numpy as np

from edge_audio.events import Event
from edge_audio.frontend import FloatArray


class Sink(Protocol):
    """Receives what a stream brings forth, in the order of audio time: for every step first its
    events, then its scores (f32[n_labels], probabilities)."""

    def on_event(self, event: Event) -> None: ...

    def on_scores(self, time_s: float, scores: FloatArray) -> None: ...

    def close(self) -> None: ...


class TopLabels:
    """Picks the highest scores among the labels somebody wants to hear about."""

    def __init__(
        self, labels: Sequence[str], n_top: int, wanted: frozenset[str] | None = None
    ) -> None:
        """wanted: labels to choose from; None = all."""
        indices = [i for i, label in enumerate(labels) if wanted is None or label in wanted]
        self.n_top = n_top
        self._labels = [labels[i] for i in indices]
        self._indices = np.array(indices, np.intp)

    def __call__(self, scores: FloatArray) -> list[tuple[str, float]]:
        """f32[n_labels] -> up to n_top (label, score), highest first."""
        candidates = scores[self._indices]
        best = np.argsort(-candidates, kind="stable")[: self.n_top]
        return [(self._labels[i], float(candidates[i])) for i in best]


def clock(time_s: float) -> str:
    """Audio time as m:ss.ss, or h:mm:ss.ss from an hour on."""
    minutes, centiseconds = divmod(round(time_s * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{centiseconds / 100:05.2f}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


class ConsoleSink:
    """One line of text per event, and one per step with the top labels if n_top > 0."""

    def __init__(self, stream: TextIO, top: TopLabels) -> None:
        self._stream = stream
        self._top = top

    def on_event(self, event: Event) -> None:
        self._write(event.time_s, event.kind, f"{event.label}  {event.score:.2f}")

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._top.n_top:
            ranked = (f"{label} {score:.2f}" for label, score in self._top(scores))
            self._write(time_s, "top", " | ".join(ranked))

    def close(self) -> None:
        self._stream.flush()

    def _write(self, time_s: float, kind: str, text: str) -> None:
        self._stream.write(f"{clock(time_s):>10}  {kind:<5}  {text}\n")
        self._stream.flush()  # somebody may be waiting at the other end of a pipe


class JsonLinesSink:
    """One JSON object per line, flushed at once:
    {"time_s": 1.2, "kind": "start" | "end", "label": "Siren", "score": 0.83} and, if n_top > 0,
    {"time_s": 1.2, "kind": "scores", "top": [{"label": "Siren", "score": 0.83}, ...]} per step.
    """

    def __init__(self, stream: TextIO, top: TopLabels) -> None:
        self._stream = stream
        self._top = top

    def on_event(self, event: Event) -> None:
        self._write(event.time_s, kind=event.kind, **scored(event.label, event.score))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._top.n_top:
            top = [scored(label, score) for label, score in self._top(scores)]
            self._write(time_s, kind="scores", top=top)

    def close(self) -> None:
        self._stream.flush()

    def _write(self, time_s: float, **fields: object) -> None:
        record = {"time_s": round(time_s, 3), **fields}
        self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._stream.flush()


def scored(label: str, score: float) -> dict[str, object]:
    """The JSON form of a label with its score."""
    return {"label": label, "score": round(score, 4)}


@dataclass(frozen=True)
class Segment:
    """One event from start to end. score: the highest smoothed score in between."""

    start_s: float
    end_s: float
    label: str
    score: float


class SegmentSink:
    """Pairs starts with ends: `segments`, sorted by start once the stream has been flushed."""

    def __init__(self) -> None:
        self._starts_s: dict[str, float] = {}
        self._segments: list[Segment] = []

    @property
    def segments(self) -> list[Segment]:
        return sorted(self._segments, key=lambda segment: segment.start_s)

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self._starts_s[event.label] = event.time_s
            return
        start_s = self._starts_s.pop(event.label)
        self._segments.append(Segment(start_s, event.time_s, event.label, event.score))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        """Segments need events alone."""

    def close(self) -> None:
        """Nothing to close."""
