"""What a stream tells the page: what is heard, and what to remember where no history is kept."""

from __future__ import annotations

from edge_audio.events.detector import Event
from edge_audio.page.context import Context
from edge_audio.page.live import LiveSink
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray


class PageSink(LiveSink):
    """A stream as readers see it, and its events in memory while no [history] keeps them."""

    def __init__(self, stream: Stream, context: Context) -> None:
        super().__init__(stream, context.hub)
        self._context, self._remembering = context, context.recorder.open(stream)
        context.sinks.append(self)

    def on_audio(self, block: Block) -> None:
        super().on_audio(block)
        if not self._context.is_stored:
            self._remembering.on_audio(block)

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if not self._context.is_stored:
            self._remembering.on_event(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        super().on_scores(time_s, scores)
        if not self._context.is_stored:
            self._remembering.on_scores(time_s, scores)

    def on_notice(self, text: str) -> None:
        super().on_notice(text)
        self._context.tell_status()
