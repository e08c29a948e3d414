"""One stream on its way: what is heard of it, by the report policy, out to its sinks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from edge_audio.events.detector import Event
from edge_audio.events.policy import REPORT_ALL, EventPolicy, PolicySpec
from edge_audio.listening.fan_out import FanOut
from edge_audio.listening.hearing import Hearing, Wanted
from edge_audio.sources.base import Block


class Listener:
    """Composes a hearing that has begun, the report policy and sinks of one stream; contains no
    maths of its own."""

    def __init__(
        self,
        hearing: Hearing,
        sink: FanOut,
        policy: PolicySpec = REPORT_ALL,
        watched: Iterable[str] | None = None,
    ) -> None:
        """watched: labels that may become events; None = those of the hearing's own settings."""
        self.hearing, self.stream, self.sink = hearing, hearing.stream, sink
        if watched is None:
            watched = hearing.default_events.thresholds
        self._spec, self._policy = policy, EventPolicy(policy, hearing.stream.parents, watched)
        self.has_ended = self._is_left_to_hearing = False

    def hear(self, piece: Any) -> None:
        """Takes one piece of the hearing's feed, the next."""
        for item in self.hearing.hear(piece):
            if isinstance(item, Block):
                self.sink.on_audio(item)
                continue
            if self.hearing.is_folding != self._is_left_to_hearing:
                self._apply(self._spec)  # a device that was asked has answered
            if not self.stream.is_paused:
                self._report(self._policy.push(item.events, item.time_s))
                self.stream.held_back = self._policy.held_back
            if item.scores is not None:
                self.sink.on_scores(item.time_s, item.scores)

    def change(self, wanted: Wanted, policy: PolicySpec) -> None:
        """Goes on with other settings; the state of the stream stays."""
        ended = self.hearing.change(wanted)
        self._policy.watch(wanted.events.thresholds)
        if not self.stream.is_paused:
            self._report(self._policy.push(ended, self.hearing.time_s))
        self._apply(policy)
        self.sink.on_watch(list(wanted.events.thresholds))

    def _apply(self, policy: PolicySpec) -> None:
        """Goes on by a policy, in which related labels are left to a hearing that sees to them."""
        self._spec, self._is_left_to_hearing = policy, self.hearing.is_folding
        if self._is_left_to_hearing:
            policy = msgspec.structs.replace(policy, related="all")
        self._policy.change(policy)

    def pause(self, is_paused: bool) -> None:
        """Ends what is open, and reports no event until it goes on: of sounds that began meanwhile
        neither."""
        if is_paused and not self.stream.is_paused:
            self._report(self._policy.flush((), self.hearing.time_s))
        self.stream.is_paused = is_paused

    def finish(self) -> None:
        """The stream has ended: every event that is open ends. May be called twice."""
        if self.has_ended:
            return
        self.has_ended = True
        self._report(self._policy.flush(self.hearing.finish(), self.hearing.time_s))

    def _report(self, events: Sequence[Event]) -> None:
        for event in events:
            self.stream.stats.n_events += event.kind == "start"
            if event.kind == "start":
                self.stream.begin(event.label, event.time_s)
            self.sink.on_event(event)
            if event.kind == "end":
                self.stream.sounding.pop(event.label, None)
