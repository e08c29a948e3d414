"""Says that a label was heard which is off, where lines of text are written."""

from __future__ import annotations

from edge_audio.cli.console import remark
from edge_audio.cli.live.state import Watched, heard_now
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
        self._stream, self._prefix = stream, f"{name}: " if name else ""

    def watch(self, watched: Watched) -> None:
        """Other settings hold from now on."""
        self._unwatched.change(watched.events, watched.wanted)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        heard_now(self._unwatched, self._stream, time_s, scores, self._stream.sounding)

    def close(self) -> None:
        for line in self._unwatched.lines():
            remark(f"{self._prefix}{line}")
