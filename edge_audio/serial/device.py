"""A device that tags by itself, on a serial line: what it reports, through faults of the line."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.errors import SourceError
from edge_audio.events.detector import Event
from edge_audio.events.policy import RELATED, Related
from edge_audio.serial.dialogue import Dialogue
from edge_audio.serial.line import Line
from edge_audio.serial.messages import Item, Losses, Notice, Progress, StepScores
from edge_audio.serial.port import DEFAULT_BAUD, reason_of
from edge_audio.serial.protocol import (
    ALL_LABELS,
    MAX_TOP,
    QUERY_HELLO,
    QUERY_LABELS,
    QUERY_STATS,
    TOP_OF_WATCHED,
    WITH_EVENTS,
    Ack,
    DeviceEvent,
    DeviceStats,
    End,
    Hello,
    Label,
    Message,
    Query,
    Reset,
    Scores,
    SetRelated,
    SetStream,
    SetThresholds,
)
from edge_audio.support.backoff import Backoff
from edge_audio.support.text import check_name

PATIENCE_S = 60.0
_MAX_LABELS = 8_192
_LABELS_PER_QUERY = 16
_THRESHOLDS_PER_COMMAND = 20
_START_LIMIT_S = 6.0  # boards that restart when they are opened need some seconds
_SILENCE_S = 3.0  # a device that listens says so once in a second
_FIRST_WAIT_S, _MAX_WAIT_S = 0.2, 4.0  # between attempts to open a port again


class _Settings(NamedTuple):
    """What a device is to report."""

    thresholds: Mapping[str, Threshold]
    n_top: int = 0
    top_of_watched: bool = False
    related: Related = "all"


class SerialDevice:
    """A device that runs the engine with its link.

        with SerialDevice("/dev/ttyACM0") as device:
            device.start(device.events.thresholds)
            for item in device.stream(): ...

    Times are seconds of audio since `start`. They go on where a reboot of the device left them,
    so that they lack what it did not hear meanwhile.

    labels, events: as the device has them; known once it is open. is_folding: whether it reports of
    related labels what it was told to; else it reports all.
    """

    def __init__(self, port: str, baud: int = DEFAULT_BAUD, patience_s: float = PATIENCE_S) -> None:
        """port: a path such as /dev/ttyACM0, COM3, or a URL of pyserial (socket://host:port).
        patience_s: how long to wait for a device that was unplugged or fell silent."""
        self.port = port
        self.device_stats: DeviceStats | None = None  # its latest
        self.hello: Hello | None = None
        self.is_folding = False
        self._line = Line(port, baud)
        self._dialogue = Dialogue(self._line)
        self._patience_s = patience_s
        self._labels: list[Label | None] = []
        self._settings: _Settings | None = None  # before `start`
        self._changes: deque[_Settings] = deque()  # from other threads
        self._may_be_on: set[str] = set()  # labels, by what the device was told so far
        self._has_started = False  # whether the stream was reset, so that times count
        self._is_ready = False  # whether what it reports is by our settings
        self._has_ended = False
        self._stopped = threading.Event()
        self._offset_s = 0.0  # of the device's clock
        self._time_s = 0.0
        self._open_events: dict[str, Event] = {}

    @property
    def losses(self) -> Losses:
        return self._line.losses

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label.name for label in self._labels if label is not None)

    @property
    def events(self) -> EventSpec:
        """The model's own thresholds (durations and smoothing stay with the device)."""
        labels = [label for label in self._labels if label is not None and label.on > 0.0]
        return EventSpec(thresholds={label.name: label.threshold() for label in labels})

    @property
    def time_s(self) -> float:
        """How much audio the device is known to have heard."""
        return self._time_s

    def __enter__(self) -> SerialDevice:
        """Opens the port and learns the labels. Raises SourceError or UsageError."""
        self._connect()
        try:
            while self._wants_to_know() is not None:
                for item in self._pump():
                    del item  # what it tells before it was told to start
        except OSError as error:
            self._line.close()
            raise SourceError(f"{self.port} broke off: {reason_of(error)}") from error
        except BaseException:
            self._line.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def start(
        self,
        thresholds: Mapping[str, Threshold],
        n_top: int = 0,
        top_of_watched: bool = False,
        related: Related = "all",
    ) -> None:
        """Makes the device report these labels and no others, from a new stream on.

        n_top: highest scores to report of every step, 0 = none. top_of_watched: only among
        labels that have a threshold. related: as in `PolicySpec`, see `is_folding`.
        """
        self._settings = _Settings(thresholds, n_top, top_of_watched, related)
        self._has_started = False
        self._dialogue.progressed()
        self._say_all()

    def change(
        self,
        thresholds: Mapping[str, Threshold],
        n_top: int = 0,
        top_of_watched: bool = False,
        related: Related = "all",
    ) -> None:
        """Makes a device that was started report by other settings, without a new stream. May be
        called by another thread than the one that draws `stream`."""
        self._changes.append(_Settings(thresholds, n_top, top_of_watched, related))

    def stream(self) -> Iterator[Item]:
        """What the device reports until its audio ends or `stop`; an endless wait for most. For
        every step its events come before its scores. Raises SourceError when the device has been
        gone or silent for patience_s, or does not answer as it should."""
        while not (self._has_ended or self._stopped.is_set()):
            try:
                yield from self._pump()
            except OSError as error:
                yield from self._reconnect(error)

    def stop(self) -> None:
        """Called by another thread: `stream` ends within a fraction of a second."""
        self._stopped.set()

    # ---- the port ----

    def _connect(self) -> None:
        self._line.open()
        self._must_greet = True
        self._is_silent = False
        self._dialogue.forget_asked()
        self._dialogue.progressed()
        # Its clock tells whether it has started anew meanwhile.
        self._say_all(*[Query(QUERY_STATS)] * self._has_started)

    def _reconnect(self, error: OSError) -> Iterator[Item]:
        yield Notice(f"device gone ({reason_of(error)}): waiting for {self.port}")
        self._line.close()
        backoff = Backoff(_FIRST_WAIT_S, _MAX_WAIT_S)
        deadline_s = time.monotonic() + self._patience_s
        while not self._stopped.wait(backoff.next_s()):
            try:
                self._connect()
            except SourceError:
                if time.monotonic() > deadline_s:
                    raise
            else:
                self.losses.n_reconnects += 1
                yield Notice(f"device back on {self.port}")
                return

    def _pump(self) -> Iterator[Item]:
        """Reads and handles what has come, waiting a moment for it. Raises OSError when the port is
        gone."""
        for message in self._line.messages():
            yield from self._take(message)
        yield from self._watch_silence()
        while self._changes:
            self._change(self._changes.popleft())
        if not self._has_ended:
            start_limit_s = min(_START_LIMIT_S, self._patience_s)
            limit_s = self._patience_s if self._has_started else start_limit_s
            self._dialogue.go_on(self._wants_to_know(), limit_s)

    # ---- asking ----

    def _wants_to_know(self) -> Query | None:
        if self._must_greet or self.hello is None:
            return Query(QUERY_HELLO)
        if None in self._labels:
            return Query(QUERY_LABELS, self._labels.index(None), _LABELS_PER_QUERY)
        return None

    def _say_all(self, *first: Message) -> None:
        """The device is to be told everything (again): it may have started anew, or another host
        may have set other labels."""
        self._is_ready = False
        commands = self._setup()
        if commands and not self._has_started:
            commands = [SetThresholds(((ALL_LABELS, 0.0, 0.0),)), *commands, Reset()]
        self._dialogue.say([*first, *commands])

    def _change(self, settings: _Settings) -> None:
        self._settings = settings
        if self._has_started:
            self._dialogue.say(self._setup())
        else:
            self._say_all()

    def _setup(self) -> list[Message]:
        """The settings as commands, whatever of this model and of earlier settings is on."""
        if self._settings is None:
            return []
        thresholds, n_top, top_of_watched, related = self._settings
        self._may_be_on |= thresholds.keys()
        gone = (self._may_be_on | self.events.thresholds.keys()) - thresholds.keys()
        index = {name: i for i, name in enumerate(self.labels)}
        values = [(index[name], value.on, value.off) for name, value in thresholds.items()]
        values += [(index[name], 0.0, 0.0) for name in sorted(gone)]
        starts = range(0, len(values), _THRESHOLDS_PER_COMMAND)
        parts = (tuple(values[i : i + _THRESHOLDS_PER_COMMAND]) for i in starts)
        flags = WITH_EVENTS | (TOP_OF_WATCHED if top_of_watched else 0)
        max_top = self.hello.max_top if self.hello else MAX_TOP
        stream = SetStream(flags, int(n_top > 0), min(n_top, max_top))
        return [*map(SetThresholds, parts), SetRelated(RELATED.index(related)), stream]

    # ---- listening ----

    def _take(self, message: Message | None) -> Iterator[Item]:
        if self._is_silent:
            self._is_silent = False
            yield Notice("device heard again")
        if isinstance(message, Hello):
            yield from self._on_hello(message)
        elif isinstance(message, Label):
            self._on_label(message)
        elif isinstance(message, Ack):
            self._on_ack(message)
        elif isinstance(message, DeviceStats):
            yield from self._on_stats(message)
        elif self._has_started and self._is_ready:
            yield from self._on_report(message)

    def _on_hello(self, hello: Hello) -> Iterator[Item]:
        known = self.hello
        if known and (hello.image_crc32, hello.n_labels) != (known.image_crc32, known.n_labels):
            raise SourceError(f"the device on {self.port} now runs another model: start anew")
        if not (0 < hello.n_labels <= _MAX_LABELS and hello.sample_rate_hz and hello.step_samples):
            raise SourceError(f"the device on {self.port} describes an impossible model")
        if known is None:
            self._labels = [None] * hello.n_labels
            self._dialogue.progressed()
        self.hello = hello
        self._must_greet = False
        if hello.is_boot:
            yield from self._on_reboot()

    def _on_label(self, label: Label) -> None:
        if label.index >= len(self._labels) or self._labels[label.index] is not None:
            return
        try:
            check_name(label.name, "label")
            if label.name in self.labels:
                raise ValueError(f"two labels are called {label.name!r}")
            if label.on > 0.0:
                label.threshold()
        except ValueError as error:
            raise SourceError(f"the device on {self.port} has a faulty model: {error}") from error
        self._labels[label.index] = label
        self._dialogue.progressed()

    def _on_ack(self, ack: Ack) -> None:
        command = self._dialogue.take_ack(ack)
        if isinstance(command, Reset):
            self._has_started = True
            self.device_stats = None
        if isinstance(command, SetRelated):
            self.is_folding = not ack.status
        if command is not None and self._dialogue.is_over:
            self._is_ready = True
            self._may_be_on = set(self._settings.thresholds if self._settings else ())

    def _on_stats(self, stats: DeviceStats) -> Iterator[Item]:
        previous = self.device_stats
        self.device_stats = stats
        if previous is not None and stats.n_samples < previous.n_samples:
            yield from self._on_reboot()  # whose HELLO was lost
        elif self._has_started:
            yield self._progress(stats.n_samples)

    def _on_reboot(self) -> Iterator[Item]:
        """The device has started anew: it has forgotten what it was told, and its clock is at 0."""
        self._dialogue.forget_asked()
        self.device_stats = None
        if self._has_started:
            self.losses.n_reboots += 1
            self._offset_s = self._time_s
            yield Notice("device started anew")
            yield from self._end_open_events()
        self._say_all()

    def _on_report(self, message: Message | None) -> Iterator[Item]:
        if isinstance(message, DeviceEvent):
            yield from self._on_event(message)
        elif isinstance(message, Scores):
            yield self._scores(message)
        elif isinstance(message, End):
            yield self._progress(message.n_samples)
            yield from self._end_open_events()
            self._has_ended = True

    def _scores(self, message: Scores) -> StepScores:
        assert self.hello is not None
        n_samples = self.hello.overlap_samples + message.step * self.hello.step_samples
        scores = np.zeros(len(self._labels), np.float32)
        for label, score in message.top:
            if label < len(scores):
                scores[label] = score / 65535.0
        return StepScores(self._progress(n_samples).time_s, scores)

    def _on_event(self, heard: DeviceEvent) -> Iterator[Event]:
        """Starts and ends alternate for every label, whatever was lost: a lost end comes with
        the next start, the end of a lost start is left out."""
        if heard.label >= len(self._labels):
            return
        label = self.labels[heard.label]
        time_s = self._device_s(heard.sample)
        opened = self._open_events.get(label)
        if not heard.is_end:
            if opened:
                yield msgspec.structs.replace(opened, kind="end", time_s=time_s)
            self._open_events[label] = Event("start", label, time_s, heard.score)
            yield self._open_events[label]
        elif opened:
            del self._open_events[label]
            yield Event("end", label, time_s, heard.score)

    def _end_open_events(self) -> list[Event]:
        """Ends that the device did not report, at time_s: their true scores are not known."""
        starts = list(self._open_events.values())
        self._open_events.clear()
        return [
            msgspec.structs.replace(start, kind="end", time_s=max(self._time_s, start.time_s))
            for start in starts
        ]

    def _watch_silence(self) -> Iterator[Item]:
        silent_s = self._line.silent_s
        if self._has_started and silent_s > self._patience_s:
            raise SourceError(
                f"the device on {self.port} has been silent for {silent_s:.0f} s: check its power "
                "and whether its program still runs"
            )
        if self._has_started and not self._is_silent and silent_s > _SILENCE_S:
            self._is_silent = True
            yield Notice(f"device silent for {silent_s:.0f} s: waiting for {self.port}")

    def _progress(self, n_samples: int) -> Progress:
        self._time_s = max(self._time_s, self._device_s(n_samples))
        return Progress(self._time_s)

    def _device_s(self, n_samples: int) -> float:
        assert self.hello is not None
        return self._offset_s + n_samples / self.hello.sample_rate_hz
