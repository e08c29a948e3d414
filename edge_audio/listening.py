"""One stream on its way: blocks of audio in, all that is found in them out to its sinks."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edge_audio.blocks import Block, Source
from edge_audio.events import Event
from edge_audio.sinks.outlets import FanOut
from edge_audio.spec import EventSpec
from edge_audio.streams import Stream
from edge_audio.tagger import Tagger


class Listener:
    """Composes source, tagger and sinks of one stream; contains no maths of its own."""

    def __init__(self, stream: Stream, source: Source, tagger: Tagger, sink: FanOut) -> None:
        self.stream, self.source, self.tagger, self.sink = stream, source, tagger, sink
        self.has_ended = False

    def hear(self, block: Block) -> None:
        """Takes one block, the next of its source."""
        stats = self.stream.stats
        stats.count(block, self.source)
        self.sink.on_audio(block)
        for time_s, scores, events in self.tagger.stream(block.samples):
            self._emit(events)
            self.sink.on_scores(time_s + stats.lost_s, scores)

    def change(self, events: EventSpec) -> None:
        """Goes on with other settings, without losing what was heard."""
        self._emit(self.tagger.change_events(events))
        self.sink.on_watch(list(events.thresholds))

    def finish(self) -> None:
        """The source has ended: every event that is open ends. May be called twice."""
        if self.has_ended:
            return
        self.has_ended = True
        self._emit(self.tagger.flush())

    def _emit(self, events: Iterable[Event]) -> None:
        """Passes events on, on the clock of the source: the tagger's lacks what it lost."""
        for event in events:
            self.stream.stats.n_events += event.kind == "start"
            time_s = event.time_s + self.stream.stats.lost_s
            self.sink.on_event(msgspec.structs.replace(event, time_s=time_s))
