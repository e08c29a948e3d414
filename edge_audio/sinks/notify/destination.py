"""Notifications as a destination of events: who is told, of what, and how often."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.labels.find import find_label
from edge_audio.sinks.base import Destination, Sink
from edge_audio.sinks.clips.index import ClipIndex
from edge_audio.sinks.clips.recorder import ClipsDestination
from edge_audio.sinks.delivery import CLOSE_LIMIT_S, Delivery, Outcome, Plan
from edge_audio.sinks.notify.config import NotifyConfig, filled
from edge_audio.sinks.notify.limits import Limits
from edge_audio.sinks.notify.quiet_hours import is_quiet
from edge_audio.sinks.notify.recipients import Recipient, read_recipients
from edge_audio.sinks.notify.sending import Message, Sender, check_addresses, require_apprise
from edge_audio.sources.stream import Stream
from edge_audio.support.text import clock, printable

_LOOK_EVERY_S = 0.5  # for a clip


@dataclass
class _Told:
    """A recipient with what is on its way there. n_lost: messages that were given up."""

    recipient: Recipient
    sender: Sender
    delivery: Delivery[Message]
    n_lost: int = 0


@dataclass(frozen=True)
class RecipientState:
    """problem: of the latest attempt, "" if it went well."""

    name: str
    service: str
    problem: str
    n_lost: int


class NotifyDestination(Destination[NotifyConfig]):
    """All recipients for all streams.

    config: that holds. limits: what was held back.
    """

    def __init__(self, config: NotifyConfig, destinations: Iterable[Destination[Any]] = ()) -> None:
        """destinations: of the run, among them its clips. Raises UsageError where Apprise or the
        addresses are missing. Whether Apprise can use them takes a while to find out: it becomes
        the problem."""
        require_apprise()
        recipients = read_recipients(config)
        self.config = config
        self.limits = Limits()
        self._stretches = config.stretches
        self._destinations = destinations
        self._streams: list[Stream] = []
        self._address_problem = ""
        self._told: list[_Told] = []
        self._testing: list[Sender] = []
        self._watched: set[str] = set()  # by any stream, since the start
        self._remarked: set[str] = set()
        self._use(config, recipients)
        self._waiting: deque[Message] = deque()
        self._has_closed = threading.Event()
        self._has_waiting = threading.Event()
        self._waiter = threading.Thread(target=self._wait, name="notify clips", daemon=True)
        self._waiter.start()

    @staticmethod
    def check(config: NotifyConfig, labels: Sequence[str]) -> None:
        for label in config.labels if labels else ():
            find_label(label, labels)
        check_addresses(read_recipients(config))

    @property
    def name(self) -> str:
        return "notify"

    @property
    def problem(self) -> str:
        if self._address_problem:
            return self._address_problem
        found = [(told.recipient.name, told.delivery.problem) for told in self._told]
        return "; ".join(f"{name}: {problem}" for name, problem in found if problem)

    @property
    def n_lost(self) -> int:
        """Messages that did not arrive; those that were held back are not among them."""
        return sum(told.n_lost + told.delivery.n_dropped for told in self._told)

    @property
    def recipients(self) -> list[RecipientState]:
        """Who is told, without addresses."""
        return [
            RecipientState(
                told.recipient.name,
                told.recipient.service,
                told.delivery.problem,
                told.n_lost + told.delivery.n_dropped,
            )
            for told in self._told
        ]

    @property
    def is_quiet(self) -> bool:
        """Whether quiet hours hold now."""
        return is_quiet(self._stretches, datetime.now().astimezone())

    def open(self, stream: Stream) -> Sink:
        """Raises UsageError if the model does not know one of the labels."""
        _check_labels(self.config, [stream])
        self._streams.append(stream)
        return _NotifySink(stream, self)

    def reconfigure(self, config: NotifyConfig, undo: ExitStack) -> Callable[[], None] | None:
        """What waits for a recipient that stays goes on; what was held back stays counted."""
        _check_labels(config, self._streams)
        recipients = read_recipients(config)
        return lambda: self._use(config, recipients)

    def refresh(self, undo: ExitStack) -> Callable[[], None] | None:
        """There may be other addresses in the same file."""
        return self.reconfigure(self.config, undo)

    def _verify(self, recipients: Sequence[Recipient]) -> None:
        """Looks, in another thread, whether Apprise can use their addresses."""

        def look() -> None:
            problem = ""
            try:
                check_addresses(recipients)
            except UsageError as error:
                problem = str(error).removeprefix("notify: ")
            if recipients is self._recipients:  # which may have changed meanwhile
                self._address_problem = problem

        self._recipients = recipients
        threading.Thread(target=look, name="notify addresses", daemon=True).start()

    def _use(self, config: NotifyConfig, recipients: Sequence[Recipient]) -> None:
        before = {(x.recipient.name, x.recipient.url.reveal()): x for x in self._told}
        if {(x.name, x.url.reveal()) for x in recipients} != before.keys():
            self._verify(recipients)
        self.config, self._stretches = config, config.stretches
        now = []
        for recipient in recipients:
            told = before.pop((recipient.name, recipient.url.reveal()), None)
            if told is None:
                told = self._new(recipient)
            else:
                told.delivery.use(self._plan(told.sender))
            now.append(told)
        self._told = now
        if before:
            threading.Thread(target=_close, args=(list(before.values()),), daemon=True).start()

    def _new(self, recipient: Recipient) -> _Told:
        sender = Sender(recipient, self._clip_of)
        name = f"notify {recipient.name}"
        told: _Told

        def bury(_: Message) -> None:
            told.n_lost += 1

        delivery = Delivery[Message](name, self._plan(sender), bury)
        told = _Told(recipient, sender, delivery)
        return told

    def _plan(self, sender: Sender) -> Plan[Message]:
        return Plan(sender, self.config.retries, self.config.backoff_s, self.config.queue)

    # What is told

    def hear(self, stream: Stream, event: Event) -> None:
        """An event that somebody may want to know of. Never waits."""
        config, folded = self.config, event.label.casefold()
        is_urgent = folded in _folded(config.urgent)
        now = stream.wall_time(event.time_s) or datetime.now().astimezone()
        if not is_urgent and is_quiet(self._stretches, now):
            return
        limits = (config.pause_s, config.max_per_hour, is_urgent)
        n_more = self.limits.admit(event.label, *limits)
        if n_more is None:
            return
        message = self._message(stream, event, n_more, is_urgent)
        if message.give_up_s:
            self._waiting.append(message)
            self._has_waiting.set()
        else:
            self._put(message)

    def watch(self, labels: Sequence[str]) -> None:
        """A stream watches these labels."""
        self._watched |= _folded(labels)

    def take_remarks(self) -> list[str]:
        """Once of each label that somebody is to be told of, and no stream watches."""
        named = {x.casefold(): x for x in (*self.config.only, *self.config.urgent)}
        unknown = named.keys() - self._watched - self._remarked if self._watched else ()
        self._remarked.update(unknown)
        hint = "and nobody is told of it: switch it on under [events]"
        return [f"{named[folded]} is off, {hint}" for folded in unknown]

    def wants(self, label: str) -> bool:
        """Whether anybody is told of that label."""
        folded, only = label.casefold(), _folded(self.config.only)
        return (not only or folded in only) and folded not in _folded(self.config.exclude)

    def least_score(self, label: str) -> float:
        """Which an event of that label has to reach."""
        scores = {name.casefold(): score for name, score in self.config.scores.items()}
        return scores.get(label.casefold(), 0.0)

    def test(self, name: str) -> Outcome | None:
        """Sends a message to one recipient, now, and waits; None where nobody is called so."""
        found = next((told for told in self._told if told.recipient.name == name), None)
        if found is None:
            return None
        sender = Sender(found.recipient, lambda _: None)
        self._testing.append(sender)
        try:
            return sender(TEST_MESSAGE)
        finally:
            self._testing.remove(sender)

    def _message(self, stream: Stream, event: Event, n_more: int, is_urgent: bool) -> Message:
        at, sounding = stream.wall_time(event.time_s), stream.sounding.get(event.label)
        values = {
            "label": printable(event.label),
            "more": f", and {n_more} more" if n_more else "",
            "stream": printable(stream.name),
            "time": clock(event.time_s) if at is None else f"{at:%H:%M:%S}",
            "score": f"{event.score:.2f}",
        }
        wait_s = 0.0 if is_urgent or sounding is None else self.config.clip_wait_s
        return Message(
            label=event.label,
            title=filled(self.config.title, values),
            text=filled(self.config.text, values),
            is_urgent=is_urgent,
            event_id=None if sounding is None else sounding.id,
            at=None if sounding is None else datetime.fromtimestamp(sounding.id / 1e6).astimezone(),
            give_up_s=time.monotonic() + wait_s if wait_s and self._clip_index else 0.0,
        )

    def _put(self, message: Message) -> None:
        for told in self._told:
            labels = self.config.recipients.get(told.recipient.name)
            if labels is None or message.label.casefold() in _folded(labels):
                told.delivery.put(message)

    # Clips

    @property
    def _clip_index(self) -> ClipIndex | None:
        found = (x.index for x in self._destinations if isinstance(x, ClipsDestination))
        return next(found, None)

    def _clip_of(self, message: Message) -> Path | None:
        """The clip that goes out with a message, if it is there."""
        clips = self._clip_index
        if not message.give_up_s or clips is None or message.event_id is None:
            return None
        assert message.at is not None
        return clips.find(message.event_id, message.at)

    def _wait(self) -> None:
        """Holds messages until their clips are there, or as long as they may wait."""
        while not self._has_closed.is_set():
            self._has_waiting.wait()
            self._has_waiting.clear()
            while self._waiting and not self._has_closed.wait(_LOOK_EVERY_S):
                for message in [self._waiting.popleft() for _ in range(len(self._waiting))]:
                    is_late = time.monotonic() >= message.give_up_s
                    if is_late or self._clip_of(message) is not None:
                        self._put(message)
                    else:
                        self._waiting.append(message)

    def close(self) -> None:
        """What waits for a clip goes without, and all has a few seconds."""
        for sender in list(self._testing):
            sender.stop()
        self._has_closed.set()
        self._has_waiting.set()
        self._waiter.join(CLOSE_LIMIT_S)
        while self._waiting:
            self._put(self._waiting.popleft())
        _close(self._told)


TEST_MESSAGE = Message(
    label="", title="edge-audio", text="A test: notifications of sounds arrive here."
)


class _NotifySink(Sink):
    def __init__(self, stream: Stream, destination: NotifyDestination) -> None:
        self._stream, self._destination = stream, destination
        self._told: set[str] = set()

    def on_watch(self, labels: Sequence[str]) -> None:
        self._destination.watch(labels)

    def on_event(self, event: Event) -> None:
        """At its start; at its end, where only then the score is known to be high enough."""
        if event.kind == "end" and event.label in self._told:
            self._told.discard(event.label)
            return
        if not self._destination.wants(event.label):
            return
        least = self._destination.least_score(event.label)
        if event.score < least or (event.kind == "end" and not least):
            return
        if event.kind == "start":
            self._told.add(event.label)
        self._destination.hear(self._stream, event)


def _close(told: Sequence[_Told]) -> None:
    """All at once, within a few seconds."""
    threads = [threading.Thread(target=each.delivery.close, daemon=True) for each in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(CLOSE_LIMIT_S + 1.0)
    for each in told:
        each.sender.stop()


def _check_labels(config: NotifyConfig, streams: Sequence[Stream]) -> None:
    """All streams know all labels that are named. Raises UsageError."""
    for stream in streams:
        for label in config.labels:
            find_label(label, stream.labels)


def _folded(labels: Iterable[str]) -> set[str]:
    return {label.casefold() for label in labels}
