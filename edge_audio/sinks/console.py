"""Events as lines of text for people."""

from __future__ import annotations

from typing import TextIO

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock, printable


class ConsoleSink(Sink):
    """One line of text per event, and one per step with the top labels if n_top > 0.

    name: of the source, before every line; empty where there is one source.
    """

    def __init__(self, stream: TextIO, top: TopLabels, name: str = "") -> None:
        self._stream = stream
        self._top = top
        self._prefix = f"{name}  " if name else ""

    def on_event(self, event: Event) -> None:
        self._write(event.time_s, event.kind, f"{event.label}  {event.score:.2f}")

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._top.n_top:
            ranked = (f"{label} {score:.2f}" for label, score in self._top(scores))
            self._write(time_s, "top", " | ".join(ranked))

    def close(self) -> None:
        self._stream.flush()

    def _write(self, time_s: float, kind: str, text: str) -> None:
        line = f"{self._prefix}{clock(time_s):>10}  {kind:<5}  {text}"
        self._stream.write(f"{printable(line)}\n")
        self._stream.flush()  # somebody may be waiting at the other end of a pipe
