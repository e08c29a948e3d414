"""Says that a label was heard which is off, where lines of text are written."""

from __future__ import annotations

from edge_audio.cli.console import remark
from edge_audio.cli.live.state import Watched
from edge_audio.events.detector import Event
from edge_audio.events.unwatched import UnwatchedSounds
from edge_audio.sinks.base import Sink
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray


class HeardTeller(Sink):
    """A line on standard error for each label that is off and was heard, at the end: by then its
    highest score is known.

    name: of the source, before every line; empty where there is one source.
    """

    def __init__(self, stream: Stream, watched: Watched, name: str = "") -> None:
        self._unwatched = UnwatchedSounds(
            stream.labels, watched.events, watched.step_s, watched.wanted
        )
        self._prefix = f"{name}: " if name else ""
        self._active: set[str] = set()

    def watch(self, watched: Watched) -> None:
        """Other settings hold from now on."""
        self._unwatched.change(watched.events, watched.wanted)

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self._active.add(event.label)
        else:
            self._active.discard(event.label)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._unwatched.push(scores, time_s, self._active)

    def close(self) -> None:
        for line in self._unwatched.lines():
            remark(f"{self._prefix}{line}")
