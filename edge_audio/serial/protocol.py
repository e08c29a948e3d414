"""Frames and messages of docs/serial-protocol.md, as bytes and back."""

from __future__ import annotations

import binascii
import struct
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import msgspec

from edge_audio.bundle.spec import Threshold
from edge_audio.errors import SourceError

VERSION = 1
MAX_PAYLOAD_BYTES = 254
MAX_TOP = 48  # scores in one frame
ALL_LABELS = 0xFFFF
WITH_EVENTS, WITH_PCM, TOP_OF_WATCHED = 1, 2, 4
QUERY_HELLO, QUERY_LABELS, QUERY_STATS = 0, 1, 2


def cobs_encode(data: bytes) -> bytes:
    """The bytes without zeros (consistent overhead byte stuffing), at most 1 byte longer for every
    254."""
    return bytes(_cobs().encode(data))


def cobs_decode(data: bytes) -> bytes | None:
    """The bytes that `cobs_encode` encoded; None for what it cannot have made."""
    cobs = _cobs()
    try:
        return bytes(cobs.decode(data))
    except cobs.DecodeError:
        return None


def _cobs() -> ModuleType:
    """The module cobs.cobs, loaded when first needed."""
    try:
        from cobs import cobs
    except ImportError as error:
        raise SourceError(
            "serial ports need the cobs package: pip install 'edge-audio[serial]'"
        ) from error
    module: ModuleType = cobs
    return module


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xffff; of b"123456789" it is 0x29b1."""
    return binascii.crc_hqx(data, 0xFFFF)


class Frame(NamedTuple):
    """One frame whose CRC is right."""

    version: int
    type: int
    sequence: int
    body: bytes

    def encoded(self) -> bytes:
        """The frame as it goes over the line, with a zero at both ends."""
        payload = bytes([self.version, self.type, self.sequence]) + self.body
        return b"\0" + cobs_encode(payload + crc16(payload).to_bytes(2, "little")) + b"\0"


class FrameReader:
    """Finds frames in bytes that come in any pieces. n_bad: what stood between two zeros and
    was none; what comes before the first zero is not counted, for one joins in the middle."""

    def __init__(self) -> None:
        self.n_bad = 0
        self._pending = b""
        self._is_joined = False

    def push(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        *parts, pending = (self._pending + data).split(b"\0")
        self._pending = pending[: MAX_PAYLOAD_BYTES + 2]  # enough to be refused as too long
        if parts and not self._is_joined:
            self._is_joined = True
            del parts[0]
        frames = [_decode_frame(part) for part in parts if part]
        self.n_bad += frames.count(None)
        return [frame for frame in frames if frame is not None]


def _decode_frame(encoded: bytes) -> Frame | None:
    payload = cobs_decode(encoded)
    if payload is None or not 5 <= len(payload) <= MAX_PAYLOAD_BYTES:
        return None
    head, crc = payload[:-2], int.from_bytes(payload[-2:], "little")
    return Frame(head[0], head[1], head[2], head[3:]) if crc16(head) == crc else None


class Message(msgspec.Struct, frozen=True):
    """What a frame says; LAYOUT is the form of its fields in the body."""

    TYPE: ClassVar[int]
    LAYOUT: ClassVar[struct.Struct]

    def body(self) -> bytes:
        return self.LAYOUT.pack(*msgspec.structs.astuple(self))

    @classmethod
    def parse(cls, body: bytes) -> Any:
        """Raises struct.error or ValueError for a body of another form."""
        return cls(*cls.LAYOUT.unpack(body))

    def frame(self, sequence: int) -> Frame:
        return Frame(VERSION, self.TYPE, sequence, self.body())


class Hello(Message, frozen=True):
    """What the device is; is_boot: it has just started, and counts frames from 0 again.
    overlap_samples: what the first step needs beyond step_samples."""

    TYPE = 0x01
    LAYOUT = struct.Struct("<IIHHHB?")
    image_crc32: int
    sample_rate_hz: int
    n_labels: int
    step_samples: int
    overlap_samples: int
    max_top: int
    is_boot: bool


class Label(Message, frozen=True):
    """A label with the model's own threshold; 0 and 0 where it is off by default."""

    TYPE = 0x02
    LAYOUT = struct.Struct("<Hff")
    index: int
    on: float
    off: float
    name: str

    def body(self) -> bytes:
        return self.LAYOUT.pack(self.index, self.on, self.off) + self.name.encode()

    @classmethod
    def parse(cls, body: bytes) -> Label:
        index, on, off = cls.LAYOUT.unpack_from(body)
        return cls(index, on, off, body[cls.LAYOUT.size :].decode())

    def threshold(self) -> Threshold:
        """Raises ValueError if it is none."""
        return Threshold(on=self.on, off=self.off)


class DeviceEvent(Message, frozen=True):
    """is_end: 0 = the sound began, 1 = it ended; sample: position in the stream."""

    TYPE = 0x03
    LAYOUT = struct.Struct("<QH?f")
    sample: int
    label: int
    is_end: bool
    score: float


class Scores(Message, frozen=True):
    """The highest scores after a step, as (label, score in units of 1 / 65535)."""

    TYPE = 0x04
    LAYOUT = struct.Struct("<I")
    step: int
    top: tuple[tuple[int, int], ...]

    def body(self) -> bytes:
        pairs = b"".join(struct.pack("<HH", *pair) for pair in self.top)
        return self.LAYOUT.pack(self.step) + pairs

    @classmethod
    def parse(cls, body: bytes) -> Scores:
        (step,) = cls.LAYOUT.unpack_from(body)
        pairs = struct.iter_unpack("<HH", body[cls.LAYOUT.size :])
        return cls(step, tuple((label, score) for label, score in pairs))


class DeviceStats(Message, frozen=True):
    """n_samples, n_steps, n_events: since the start of the stream. The others since the device
    started: bad frames, frames of another version and bytes that it could not take; frames it
    had no room to send; audio it lost before the model."""

    TYPE = 0x05
    LAYOUT = struct.Struct("<QIIIIIII")
    n_samples: int
    n_steps: int
    n_events: int
    n_rx_bad: int
    n_rx_version: int
    n_rx_overruns: int
    n_tx_drops: int
    n_lost_samples: int


class Pcm(Message, frozen=True):
    """Audio as the model heard it: int16 from a position in the stream on."""

    TYPE = 0x06
    LAYOUT = struct.Struct("<Q")
    sample: int
    samples: tuple[int, ...]

    def body(self) -> bytes:
        return self.LAYOUT.pack(self.sample) + struct.pack(f"<{len(self.samples)}h", *self.samples)

    @classmethod
    def parse(cls, body: bytes) -> Pcm:
        (sample,) = cls.LAYOUT.unpack_from(body)
        return cls(sample, tuple(x for (x,) in struct.iter_unpack("<h", body[cls.LAYOUT.size :])))


class Ack(Message, frozen=True):
    """How the command with that number and type went; 0 = done."""

    TYPE = 0x07
    LAYOUT = struct.Struct("<BBB")
    sequence: int
    command: int
    status: int


class End(Message, frozen=True):
    """The audio of the device has ended (a microphone's never does)."""

    TYPE = 0x08
    LAYOUT = struct.Struct("<Q")
    n_samples: int


class Query(Message, frozen=True):
    """Asks for HELLO, for the LABELs from `first` on, or for STATS."""

    TYPE = 0x81
    LAYOUT = struct.Struct("<BHH")
    what: int
    first: int = 0
    count: int = 0


class SetThresholds(Message, frozen=True):
    """(label, on, off) in this order; ALL_LABELS for all, on = off = 0 for off."""

    TYPE = 0x82
    LAYOUT = struct.Struct("<Hff")
    thresholds: tuple[tuple[int, float, float], ...]

    def body(self) -> bytes:
        return b"".join(self.LAYOUT.pack(*threshold) for threshold in self.thresholds)

    @classmethod
    def parse(cls, body: bytes) -> SetThresholds:
        return cls(tuple(cls.LAYOUT.iter_unpack(body)))


class Reset(Message, frozen=True):
    """Starts the stream anew, from sample 0."""

    TYPE = 0x83
    LAYOUT = struct.Struct("<")


class SetStream(Message, frozen=True):
    """What the device sends by itself: flags, and the n_top highest scores of every
    scores_every-th step (0 = none)."""

    TYPE = 0x84
    LAYOUT = struct.Struct("<BHB")
    flags: int
    scores_every: int
    n_top: int


class SetRelated(Message, frozen=True):
    """What the device reports of related labels, by the engine's number for it. Devices that are
    older than this command, or whose image knows of no related labels, refuse it."""

    TYPE = 0x85
    LAYOUT = struct.Struct("<B")
    related: int


_REPORTS = (Hello, Label, DeviceEvent, Scores, DeviceStats, Pcm, Ack, End)
_COMMANDS = (Query, SetThresholds, Reset, SetStream, SetRelated)
_KINDS: dict[int, type[Message]] = {kind.TYPE: kind for kind in (*_REPORTS, *_COMMANDS)}


def parse_message(frame: Frame) -> Message | None:
    """None for a type that is not known, or a body that does not fit its type."""
    kind = _KINDS.get(frame.type)
    try:
        return kind.parse(frame.body) if kind else None
    except (struct.error, ValueError):
        return None
