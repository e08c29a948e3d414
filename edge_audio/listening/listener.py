"""One stream on its way: blocks of audio in, all that is found in them out to its sinks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.detector import Event
from edge_audio.events.policy import REPORT_ALL, EventPolicy, PolicySpec
from edge_audio.listening.fan_out import FanOut
from edge_audio.sources.base import Block, Source
from edge_audio.sources.stream import Stream
from edge_audio.tagging.tagger import Tagger


class Listener:
    """Composes source, tagger, policy and sinks of one stream; contains no maths of its own."""

    def __init__(
        self,
        stream: Stream,
        source: Source,
        tagger: Tagger,
        sink: FanOut,
        policy: PolicySpec = REPORT_ALL,
    ) -> None:
        self.stream, self.source, self.tagger, self.sink = stream, source, tagger, sink
        self._policy = EventPolicy(policy)
        self.has_ended = False

    def hear(self, block: Block) -> None:
        """Takes one block, the next of its source."""
        stats = self.stream.stats
        stats.count(block, self.source)
        self.sink.on_audio(block)
        for step_s, scores, found in self.tagger.steps(block.samples):
            time_s = step_s + stats.lost_s
            self._report(self._policy.push(self._on_clock(found), time_s))
            self.sink.on_scores(time_s, scores)

    def change(self, events: EventSpec, policy: PolicySpec, gate_dbfs: float | None) -> None:
        """Goes on with other settings, without losing what was heard."""
        ended = self.tagger.change_events(events)
        self._report(self._policy.push(self._on_clock(ended), self._time_s))
        self._policy.change(policy)
        self.tagger.gate_dbfs = gate_dbfs
        self.sink.on_watch(list(events.thresholds))

    def finish(self) -> None:
        """The source has ended: every event that is open ends. May be called twice."""
        if self.has_ended:
            return
        self.has_ended = True
        ended = self.tagger.flush()
        self._report(self._policy.flush(self._on_clock(ended), self._time_s))

    @property
    def _time_s(self) -> float:
        return self.tagger.time_s + self.stream.stats.lost_s

    def _on_clock(self, events: Sequence[Event]) -> list[Event]:
        """The same on the clock of the source: the tagger's lacks what it lost."""
        lost_s = self.stream.stats.lost_s
        return [msgspec.structs.replace(event, time_s=event.time_s + lost_s) for event in events]

    def _report(self, events: Sequence[Event]) -> None:
        for event in events:
            self.stream.stats.n_events += event.kind == "start"
            if event.kind == "start":
                self.stream.sounding.add(event.label)
            else:
                self.stream.sounding.discard(event.label)
            self.sink.on_event(event)
