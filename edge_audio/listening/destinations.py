"""All destinations of a listening run, as its settings name them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edge_audio.bundle.spec import Sensitivity, Spec
from edge_audio.history.destination import HistoryDestination
from edge_audio.listening.config import Config
from edge_audio.listening.fan_out import FanOut
from edge_audio.page.destination import PageDestination
from edge_audio.page.run import ShownRun
from edge_audio.sinks.base import Destination, Sink, Wish
from edge_audio.sinks.clips.recorder import ClipsDestination
from edge_audio.sinks.jsonl import JsonLinesDestination
from edge_audio.sinks.mqtt.sink import MqttDestination
from edge_audio.sinks.notify.destination import NotifyDestination
from edge_audio.sinks.prometheus import MetricsDestination
from edge_audio.sinks.webhook.destination import WebhookDestination
from edge_audio.sources.stream import Stream

KINDS: Mapping[str, Callable[..., Destination[Any]]] = {  # the sections of Config
    "json": JsonLinesDestination,
    "history": HistoryDestination,
    "mqtt": MqttDestination,
    "webhook": WebhookDestination,
    "notify": NotifyDestination,
    "clips": ClipsDestination,
    "metrics": MetricsDestination,
    "page": PageDestination,
}


CLOSE_LIMIT_S = 15.0  # each keeps to less, unless the disk hangs


@dataclass(frozen=True)
class _Opened:
    """A destination with the settings that hold for it. sinks: one for each stream."""

    section: Spec
    destination: Destination[Any]
    sinks: Sequence[Sink]


class Destinations:
    """The destinations that are open. Settings change as a whole or not at all: `prepare` opens
    what is new and changes nothing else, so that whatever it meets leaves all as it was."""

    def __init__(self, run: ShownRun | None = None) -> None:
        """run: what the page shows of it."""
        self._run = run or ShownRun()
        self._streams: list[Stream] = []
        self._fan_outs: list[FanOut] = []
        self._open: Mapping[str, _Opened] = {}
        self._closing: list[threading.Thread] = []
        self._losses: deque[str] = deque()

    def add(self, stream: Stream, shown: Sequence[Sink]) -> FanOut:
        """A stream, before anything is open: what is told to the FanOut goes to `shown`, the
        sinks of the screen, and to all destinations."""
        self._streams.append(stream)
        self._fan_outs.append(FanOut(shown))
        return self._fan_outs[-1]

    def __iter__(self) -> Iterator[Destination[Any]]:
        """The destinations that are open at this moment. May be called from any thread."""
        return iter([opened.destination for opened in self._open.values()])

    @property
    def problems(self) -> dict[str, str]:
        """Name of each destination that has a problem at the moment -> one line on it."""
        found = {}
        for kind, opened in self._open.items():
            errors = [fan_out.errors[kind] for fan_out in self._fan_outs if kind in fan_out.errors]
            if problem := opened.destination.problem or "".join(errors[:1]):
                found[opened.destination.name] = problem
        return found

    @property
    def is_closing(self) -> bool:
        """Whether some destinations are still being closed, which takes seconds at most."""
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        return bool(self._closing)

    def prepare(self, config: Config) -> Callable[[], None]:
        """Opens what these settings name beyond what is open. What it returns puts all of that in
        use at once, raises nothing, and is to be called from the listening thread. Raises what
        opening one of them raised; all is as before then."""
        now: dict[str, _Opened] = {}
        go_ons: list[Callable[[], None]] = []
        with ExitStack() as undo:
            for kind in KINDS:
                if (section := getattr(config, kind)) is not None:
                    now[kind], go_on = self._prepared(kind, section, undo)
                    go_ons += [go_on] if go_on is not None else []
            undo.pop_all()
        return partial(self._commit, now, go_ons)

    def tell_run(self, sensitivity: Sensitivity, is_paused: bool) -> None:
        """How the run listens, to all that are open."""
        for destination in self:
            destination.on_run(sensitivity, is_paused)

    def take_wishes(self) -> list[Wish]:
        """What came from any of them since the last call."""
        return [wish for destination in self for wish in destination.take_wishes()]

    def take_remarks(self) -> list[str]:
        """Lines on what happened at any of them since the last call."""
        return [f"{x.name}: {text}" for x in self for text in x.take_remarks()]

    def take_losses(self) -> Iterator[str]:
        """Lines on destinations that were closed since the last call: what they lost, and their
        last remarks."""
        while self._losses:
            yield self._losses.popleft()

    def close(self) -> None:
        """Closes all destinations at the same time, within seconds."""
        self._join()
        self._commit({}, ())
        self._join()

    def _prepared(
        self, kind: str, section: Spec, undo: ExitStack
    ) -> tuple[_Opened, Callable[[], None] | None]:
        """A destination by these settings, and a call that makes one that is already open go on by
        them."""
        old = self._open.get(kind)
        if old is not None and old.section == section:
            return old, old.destination.refresh(undo)
        go_on = None if old is None else old.destination.reconfigure(section, undo)
        if old is not None and go_on is not None:
            return replace(old, section=section), go_on
        # Of all destinations they show the problems, or send the clips
        others: dict[str, list[Any]] = {
            "metrics": [self],
            "notify": [self],
            "page": [self, self._run],
        }
        destination = KINDS[kind](section, *others.get(kind, ()))
        undo.callback(_discard_quietly, destination)
        return _Opened(section, destination, [destination.open(x) for x in self._streams]), None

    def _commit(self, now: Mapping[str, _Opened], go_ons: Sequence[Callable[[], None]]) -> None:
        for go_on in go_ons:
            go_on()
        before, self._open = self._open, now
        for i, fan_out in enumerate(self._fan_outs):
            fan_out.swap({kind: opened.sinks[i] for kind, opened in now.items()})
        for kind in KINDS:
            self._succeed(before.get(kind), now.get(kind))

    def _succeed(self, old: _Opened | None, new: _Opened | None) -> None:
        """Closes the old one while listening goes on, and starts the new one then."""
        if old is None:
            if new is not None:
                new.destination.start()
        elif new is None or new.destination is not old.destination:
            for sink in old.sinks:
                with suppress(Exception):  # what is wrong with it was told as its problem
                    sink.close()
            name = old.destination.name
            thread = threading.Thread(target=self._close, args=(old, new), name=name, daemon=True)
            self._closing.append(thread)
            thread.start()

    def _close(self, old: _Opened, new: _Opened | None) -> None:
        destination = old.destination
        try:
            destination.close()
        except Exception as error:  # nothing that a destination does ends the run
            self._losses.append(f"{destination.name}: {type(error).__name__} at its end: {error}")
        self._losses.extend(f"{destination.name}: {x}" for x in destination.take_remarks())
        if destination.n_lost:
            self._losses.append(f"{destination.name}: {destination.n_lost} were not delivered")
        if new is not None:
            new.destination.start()

    def _join(self) -> None:
        """Waits for those that are being closed, all within CLOSE_LIMIT_S."""
        give_up_s = time.monotonic() + CLOSE_LIMIT_S
        for thread in self._closing:
            thread.join(max(0.0, give_up_s - time.monotonic()))
            if thread.is_alive():
                hangs = f"it has not closed within {CLOSE_LIMIT_S:g} s"
                self._losses.append(f"{thread.name}: {hangs}; what waited there may be lost")
        self._closing = []


def _discard_quietly(destination: Destination[Any]) -> None:
    with suppress(Exception):  # there is an error already, which says more
        destination.discard()
