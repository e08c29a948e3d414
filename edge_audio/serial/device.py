"""A device that tags by itself, on a serial line: what it reports, through faults of the line."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.errors import SourceError, UsageError
from edge_audio.events.detector import Event
from edge_audio.serial.protocol import (
    ALL_LABELS,
    MAX_TOP,
    QUERY_HELLO,
    QUERY_LABELS,
    QUERY_STATS,
    TOP_OF_WATCHED,
    VERSION,
    WITH_EVENTS,
    Ack,
    DeviceEvent,
    DeviceStats,
    End,
    Frame,
    FrameReader,
    Hello,
    Label,
    Message,
    Query,
    Reset,
    Scores,
    SetStream,
    SetThresholds,
    parse_message,
)
from edge_audio.support.text import check_name

DEFAULT_BAUD = 115_200

_REFUSALS = {1: "a value out of range", 2: "an unknown command", 3: "a body of a wrong length"}
_MAX_LABELS = 8_192
_LABELS_PER_QUERY = 16
_THRESHOLDS_PER_COMMAND = 20
_READ_S = 0.1  # longest wait for bytes
_RESEND_S = 0.5
_START_LIMIT_S = 6.0  # boards that restart when they are opened need some seconds
_SILENCE_S = 3.0  # a device that listens says so once in a second
_PATIENCE_S = 60.0
_BACKOFF_S = (0.2, 4.0)  # first and longest wait between attempts to open a port again


@dataclass(frozen=True)
class Losses:
    """What went wrong on the line. n_lost: frames missing between two numbers (the bad ones
    among them). n_bad: frames that arrived damaged. n_duplicates: frames that came twice."""

    n_lost: int = 0
    n_bad: int = 0
    n_duplicates: int = 0
    n_reboots: int = 0
    n_reconnects: int = 0

    def __str__(self) -> str:
        return (
            f"{self.n_lost} frames lost, {self.n_bad} damaged, {self.n_duplicates} twice, "
            f"{self.n_reboots} reboots, {self.n_reconnects} reconnects"
        )


@dataclass(frozen=True, eq=False)
class StepScores:
    """scores f32[n_labels] of the step that ended at time_s, zeros where none was sent."""

    time_s: float
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """The device has heard the audio up to time_s."""

    time_s: float


@dataclass(frozen=True)
class Notice:
    """One line for the user about the state of the connection."""

    text: str


Item = Event | StepScores | Heard | Notice


@dataclass
class _Asked:
    """A command that was sent and not yet acknowledged."""

    command: Message
    sequence: int
    due_s: float  # when to send it again


class SerialDevice:
    """A device that runs the engine with its link.

        with SerialDevice("/dev/ttyACM0") as device:
            device.start(device.events.thresholds)
            for item in device.stream(): ...

    Times are seconds of audio since `start`. They go on where a reboot of the device left them,
    so that they lack what it did not hear meanwhile.

    labels, events: as the device has them; known once it is open.
    """

    def __init__(self, port: str, baud: int = DEFAULT_BAUD, patience_s: float = _PATIENCE_S):
        """port: a path such as /dev/ttyACM0, COM3, or a URL of pyserial (socket://host:port).
        patience_s: how long to wait for a device that was unplugged or fell silent."""
        self.port = port
        self.losses = Losses()
        self.device_stats: DeviceStats | None = None  # its latest
        self.hello: Hello | None = None
        self._baud = baud
        self._patience_s = patience_s
        self._labels: list[Label | None] = []
        self._setup: list[Message] = []  # to be said after every start of the device
        self._to_say: deque[Message] = deque()
        self._asked: _Asked | None = None
        self._next_sequence = 0
        self._has_started = False  # whether the stream was reset, so that times count
        self._has_ended = False
        self._offset_s = 0.0  # of the device's clock
        self._time_s = 0.0
        self._open_events: dict[str, Event] = {}

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
            self._close()
            raise SourceError(f"{self.port} broke off: {_reason(error)}") from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start(
        self,
        thresholds: Mapping[str, Threshold],
        n_top: int = 0,
        top_of_watched: bool = False,
    ) -> None:
        """Makes the device report these labels and no others, from a new stream on.

        n_top: highest scores to report of every step, 0 = none. top_of_watched: only among
        labels that have a threshold.
        """
        index = {name: i for i, name in enumerate(self.labels)}
        values = [(index[name], value.on, value.off) for name, value in thresholds.items()]
        # A device that starts anew has those of the model; one that does not keeps open events.
        values += [(index[name], 0.0, 0.0) for name in self.events.thresholds.keys() - thresholds]
        starts = range(0, len(values), _THRESHOLDS_PER_COMMAND)
        parts = (tuple(values[i : i + _THRESHOLDS_PER_COMMAND]) for i in starts)
        flags = WITH_EVENTS | (TOP_OF_WATCHED if top_of_watched else 0)
        max_top = self.hello.max_top if self.hello else MAX_TOP
        stream = SetStream(flags, int(n_top > 0), min(n_top, max_top))
        self._setup = [*map(SetThresholds, parts), stream]
        self._has_started = False
        self._progress()
        self._say_all()

    def stream(self) -> Iterator[Item]:
        """What the device reports until its audio ends; an endless wait for most. For every step
        its events come before its scores. Raises SourceError when the device has been gone or
        silent for patience_s, or does not answer as it should."""
        while not self._has_ended:
            try:
                yield from self._pump()
            except OSError as error:
                yield from self._reconnect(error)

    def flush(self) -> list[Event]:
        """Ends of the events that are still open, at time_s."""
        ends = [self._end_of(event) for event in self._open_events.values()]
        self._open_events.clear()
        return ends

    # ---- the port ----

    def _connect(self) -> None:
        self._port = open_port(self.port, self._baud)
        self._reader = FrameReader()
        self._n_bad_before = self.losses.n_bad
        self._latest: Frame | None = None  # to tell lost and repeated frames by its number
        self._asked = None
        self._must_greet = True
        now_s = time.monotonic()
        self._heard_at_s = self._progress_at_s = now_s
        self._is_silent = False
        self._say_all()
        if self._has_started:  # its clock tells whether it has started anew meanwhile
            self._to_say.appendleft(Query(QUERY_STATS))

    def _close(self) -> None:
        with suppress(OSError):  # it was unplugged
            self._port.close()

    def _reconnect(self, error: OSError) -> Iterator[Item]:
        yield Notice(f"device gone ({_reason(error)}): waiting for {self.port}")
        self._close()
        delay_s, longest_s = _BACKOFF_S
        deadline_s = time.monotonic() + self._patience_s
        while True:
            time.sleep(delay_s)
            try:
                self._connect()
                break
            except SourceError:
                if time.monotonic() > deadline_s:
                    raise
            delay_s = min(2.0 * delay_s, longest_s)
        self._count(n_reconnects=1)
        yield Notice(f"device back on {self.port}")

    def _pump(self) -> Iterator[Item]:
        """Reads once, for at most _READ_S. Raises OSError when the port is gone."""
        data = self._port.read(max(1, self._port.in_waiting))
        for frame in self._reader.push(data):
            yield from self._take(frame)
        self.losses = replace(self.losses, n_bad=self._n_bad_before + self._reader.n_bad)
        yield from self._watch_silence()
        if not self._has_ended:
            self._ask()

    # ---- asking ----

    def _say_all(self) -> None:
        """The device is to be told everything (again): it may have started anew."""
        self._to_say = deque(self._setup)
        if self._setup and not self._has_started:  # another host may have set other labels
            self._to_say.appendleft(SetThresholds(((ALL_LABELS, 0.0, 0.0),)))
            self._to_say.append(Reset())

    def _wants_to_know(self) -> Query | None:
        if self._must_greet or self.hello is None:
            return Query(QUERY_HELLO)
        if None in self._labels:
            return Query(QUERY_LABELS, self._labels.index(None), _LABELS_PER_QUERY)
        return None

    def _ask(self) -> None:
        """Sends the next command, or repeats the latest one that was not acknowledged."""
        now_s = time.monotonic()
        if self._asked is None:
            command = self._wants_to_know() or (self._to_say[0] if self._to_say else None)
            if command is None:
                self._progress_at_s = now_s
                return
            self._asked = _Asked(command, self._next_sequence, now_s)
            self._next_sequence = (self._next_sequence + 1) % 256
        start_limit_s = min(_START_LIMIT_S, self._patience_s)
        limit_s = self._patience_s if self._has_started else start_limit_s
        if now_s - self._progress_at_s > limit_s:
            raise SourceError(self._no_answer())
        if now_s >= self._asked.due_s:
            self._asked.due_s = now_s + _RESEND_S
            with suppress(OSError):  # reading finds out if the port is gone; a full line may drain
                self._port.write(self._asked.command.frame(self._asked.sequence).encoded())

    def _no_answer(self) -> str:
        if self._latest is not None:
            return (
                f"the device on {self.port} sends but does not answer: check the wire to its "
                "receiver, and that its program calls ea_link_handle"
            )
        if self._reader.n_bad:
            return (
                f"what comes from {self.port} is not the protocol of edge-audio at {self._baud} "
                "baud: check the device's baud rate, and give it as serial:PORT@BAUD"
            )
        return (
            f"no answer from {self.port} at {self._baud} baud: check that the device runs a "
            "program with the edge-audio link, and its baud rate (serial:PORT@BAUD)"
        )

    # ---- listening ----

    def _take(self, frame: Frame) -> Iterator[Item]:
        if frame.type >= 0x80:
            return  # a line that sends back what we say
        if frame.version != VERSION:
            raise SourceError(
                f"the device on {self.port} speaks version {frame.version} of the protocol, this "
                f"edge-audio version {VERSION}: update the older of the two"
            )
        if frame == self._latest:
            self._count(n_duplicates=1)
            return
        message = parse_message(frame)
        is_boot = isinstance(message, Hello) and message.is_boot
        if self._latest is not None and not is_boot:
            self._count(n_lost=(frame.sequence - self._latest.sequence - 1) % 256)
        self._latest = frame
        self._heard_at_s = time.monotonic()
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
        elif self._has_started and not self._to_say:
            yield from self._on_report(message)

    def _on_hello(self, hello: Hello) -> Iterator[Item]:
        known = self.hello
        if known and (hello.image_crc32, hello.n_labels) != (known.image_crc32, known.n_labels):
            raise SourceError(f"the device on {self.port} now runs another model: start anew")
        if not (0 < hello.n_labels <= _MAX_LABELS and hello.sample_rate_hz and hello.step_samples):
            raise SourceError(f"the device on {self.port} describes an impossible model")
        if known is None:
            self._labels = [None] * hello.n_labels
            self._progress()
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
        self._progress()

    def _on_ack(self, ack: Ack) -> None:
        asked = self._asked
        if asked is None or (ack.sequence, ack.command) != (asked.sequence, asked.command.TYPE):
            return
        if ack.status:
            reason = _REFUSALS.get(ack.status, f"status {ack.status}")
            kind = type(asked.command).__name__
            raise SourceError(f"the device on {self.port} refused {kind}: {reason}")
        self._asked = None
        if self._to_say and asked.command is self._to_say[0]:
            self._to_say.popleft()
            self._progress()
        if isinstance(asked.command, Reset):
            self._has_started = True
            self.device_stats = None

    def _on_stats(self, stats: DeviceStats) -> Iterator[Item]:
        previous = self.device_stats
        self.device_stats = stats
        if previous is not None and stats.n_samples < previous.n_samples:
            yield from self._on_reboot()  # whose HELLO was lost
        elif self._has_started:
            yield self._heard(stats.n_samples)

    def _on_reboot(self) -> Iterator[Item]:
        """Whatever the device was told is forgotten, and its clock is at 0."""
        self._asked = None
        self.device_stats = None
        if self._has_started:
            self._count(n_reboots=1)
            self._offset_s = self._time_s
            yield Notice("device started anew")
            yield from self.flush()
        self._say_all()

    def _on_report(self, message: Message | None) -> Iterator[Item]:
        assert self.hello is not None
        if isinstance(message, DeviceEvent):
            yield from self._on_event(message)
        elif isinstance(message, Scores):
            n_heard = self.hello.overlap_samples + message.step * self.hello.step_samples
            scores = np.zeros(len(self._labels), np.float32)
            for label, score in message.top:
                if label < len(scores):
                    scores[label] = score / 65535.0
            yield StepScores(self._heard(n_heard).time_s, scores)
        elif isinstance(message, End):
            yield self._heard(message.n_samples)
            yield from self.flush()
            self._has_ended = True

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

    def _end_of(self, event: Event) -> Event:
        """An end that the device did not report: its true score is not known."""
        time_s = max(self._time_s, event.time_s)
        return msgspec.structs.replace(event, kind="end", time_s=time_s)

    def _watch_silence(self) -> Iterator[Item]:
        silent_s = time.monotonic() - self._heard_at_s
        if self._has_started and silent_s > self._patience_s:
            raise SourceError(
                f"the device on {self.port} has been silent for {silent_s:.0f} s: check its power "
                "and whether its program still runs"
            )
        if self._has_started and not self._is_silent and silent_s > _SILENCE_S:
            self._is_silent = True
            yield Notice(f"device silent for {silent_s:.0f} s: waiting for {self.port}")

    def _heard(self, n_samples: int) -> Heard:
        self._time_s = max(self._time_s, self._device_s(n_samples))
        return Heard(self._time_s)

    def _device_s(self, n_samples: int) -> float:
        assert self.hello is not None
        return self._offset_s + n_samples / self.hello.sample_rate_hz

    def _progress(self) -> None:
        self._progress_at_s = time.monotonic()

    def _count(self, **more: int) -> None:
        changed = {name: getattr(self.losses, name) + n for name, n in more.items()}
        self.losses = replace(self.losses, **changed)


def _serial() -> ModuleType:
    """The serial module, loaded when first needed."""
    try:
        import serial
    except ImportError as error:
        raise SourceError(
            "serial ports need the pyserial package: pip install 'edge-audio[serial]'"
        ) from error
    return serial


def open_port(port: str, baud: int) -> Any:
    """An open serial.Serial whose waits are short. Raises SourceError or UsageError."""
    serial = _serial()
    try:
        return serial.serial_for_url(port, baud, timeout=_READ_S, write_timeout=1.0, exclusive=True)
    except ValueError as error:
        raise UsageError(f"serial port {port} at {baud} baud: {error}") from error
    except OSError as error:
        raise SourceError(f"cannot open {port}: {_reason(error)}{_hint(error)}") from error


def _reason(error: OSError) -> str:
    """Without pyserial's brackets and repetitions, where the system gave a reason."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _hint(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "; your user must be in the group that owns it: sudo usermod -aG dialout $USER"
    if error.errno == errno.ENOENT:
        from serial.tools.list_ports import comports

        found = ", ".join(sorted(info.device for info in comports()))
        return f"; ports here: {found or 'none, is the device plugged in?'}"
    return ""


def parse_port(text: str) -> tuple[str, int]:
    """'/dev/ttyACM0@921600' -> its path and baud rate; without @BAUD DEFAULT_BAUD."""
    port, at, baud = text.rpartition("@")
    if not at or not baud.isdecimal():
        port, baud = text, str(DEFAULT_BAUD)
    if not port or int(baud) == 0:
        raise UsageError("--source serial:PORT[@BAUD], for example serial:/dev/ttyACM0@115200")
    return port, int(baud)
