"""All sinks of a stream as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sources.base import Block
from edge_audio.support.arrays import FloatArray


class FanOut(Sink):
    """Several sinks as one: those of the screen, and those of destinations, which may be others
    from one step to the next. Whoever opened them closes them.

    An error that a sink of the screen raises ends the run. One that the sink of a destination
    raises does not, and keeps nothing from the others.

    errors: key of a destination -> the first error that its sink has raised, if any.
    """

    def __init__(self, shown: Sequence[Sink] = ()) -> None:
        """shown: the sinks of the screen."""
        self.errors: dict[str, str] = {}
        self._shown = list(shown)
        self._sinks: Mapping[str, Sink] = {}
        self._labels: Sequence[str] | None = None

    def swap(self, sinks: Mapping[str, Sink]) -> None:
        """Key -> sink of a destination, in place of all before. Those that are new are told what
        is watched."""
        before, self._sinks = self._sinks, dict(sinks)
        for key, sink in self._sinks.items():
            if sink is not before.get(key):
                self.errors.pop(key, None)
                if self._labels is not None:
                    self._tell(key, sink, lambda sink: sink.on_watch(self._labels or ()))
        self.errors = {key: text for key, text in self.errors.items() if key in self._sinks}

    def on_watch(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._each(lambda sink: sink.on_watch(labels))

    def on_audio(self, block: Block) -> None:
        self._each(lambda sink: sink.on_audio(block))

    def on_event(self, event: Event) -> None:
        self._each(lambda sink: sink.on_event(event))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._each(lambda sink: sink.on_scores(time_s, scores))

    def on_notice(self, text: str) -> None:
        self._each(lambda sink: sink.on_notice(text))

    def _each(self, tell: Callable[[Sink], None]) -> None:
        for key, sink in self._sinks.items():
            self._tell(key, sink, tell)
        for sink in self._shown:
            tell(sink)

    def _tell(self, key: str, sink: Sink, tell: Callable[[Sink], None]) -> None:
        try:
            tell(sink)
        except Exception as error:
            self.errors.setdefault(key, f"{type(error).__name__}: {error}; it may have missed more")
