"""MPEG audio frames (MP3 and its elders): where they lie and how many there are.

Layout of headers: ISO/IEC 11172-3, 2.4.1.3, and 13818-3. Of the frame that states the length of
what follows: the "Xing VBR tag", as LAME writes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from edge_audio.sources.view import FileView

N_HEADER_BYTES = 4
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
# kbit/s by (is MPEG-1, layer), for indices 1 to 14
_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
N_ID3_BYTES = 10  # of its header
_CHUNK_BYTES = 1 << 20
_MAX_FRAME_BYTES = 2_881  # of layer 2; layer 3 has 1,441
_N_CONFIRMING = 2  # frames that follow one, before it is believed that it is one
_HAS_FRAMES, _HAS_BYTES = 1, 2  # flags of the frame that states the length
_ID3V1_BYTES = 128


@dataclass(frozen=True)
class Frame:
    """form: rate in Hz, channels and layer. n_bytes: with its header. n_samples: per channel.
    tag_offset: where it would state the length of what follows."""

    form: tuple[int, int, int]
    n_bytes: int
    n_samples: int
    tag_offset: int


@lru_cache(maxsize=1024)
def frame_of(header: bytes) -> Frame | None:
    """The frame with this header of N_HEADER_BYTES; None for what is none, or has a free bit
    rate."""
    if len(header) < N_HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kbit_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or kbit_index in (0, 15) or rate_index == 3:
        return None
    is_mpeg1, n_channels = version == 3, 1 if header[3] >> 6 == 3 else 2
    rate_hz = _RATES_HZ[version][rate_index]
    bits_per_s = 1000 * _KBITS[is_mpeg1, layer][kbit_index - 1]
    n_samples = {1: 384, 2: 1152, 3: 1152 if is_mpeg1 else 576}[layer]
    padding = header[2] >> 1 & 1
    n_bytes = n_samples // 8 * bits_per_s // rate_hz + padding
    if layer == 1:  # counted in slots of 4 bytes
        n_bytes = 4 * (12 * bits_per_s // rate_hz + padding)
    side_bytes = (17, 32) if is_mpeg1 else (9, 17)
    tag_offset = N_HEADER_BYTES + side_bytes[n_channels - 1]
    return Frame((rate_hz, n_channels, layer), n_bytes, n_samples, tag_offset)


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that begins there, 0 if there is none."""
    if len(head) < N_ID3_BYTES or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return N_ID3_BYTES + size + (N_ID3_BYTES if head[5] & 0x10 else 0)


@dataclass(frozen=True)
class Run:
    """Frames of one form without anything between them, from `start` to `end` of a file.

    header, form: of the first. n_frames: without one that states the length.
    tag_at: where that one has the number of frames, None if it has none. stated_frames: what it
    states, 0 if nothing. ends_amid_frame: there is a part of one more.
    """

    start: int
    end: int
    header: bytes
    n_frames: int = 0
    tag_at: int | None = None
    stated_frames: int = 0
    ends_amid_frame: bool = False

    @property
    def form(self) -> tuple[int, int, int]:
        frame = frame_of(self.header)
        assert frame is not None
        return frame.form

    @property
    def is_cut(self) -> bool:
        """Whether there are fewer frames than were written."""
        return self.ends_amid_frame or self.stated_frames > self.n_frames + 1

    def view(self, path: Path) -> FileView:
        """The run behind a first frame that states its true length, as far as its layer has such
        frames."""
        if self.form[2] != 3:
            return FileView(path, self.start, self.end)
        number = self.n_frames.to_bytes(4, "big")
        if self.tag_at is not None:
            return FileView(path, self.start, self.end, patches={self.tag_at: number})
        return FileView(path, self.start, self.end, head=self._info_frame(number))

    def _info_frame(self, number: bytes) -> bytes:
        """A silent frame that states how many come; decoders take it for no audio."""
        at_128k = bytes([0xFF, self.header[1] | 1, 0x90 | self.header[2] & 0x0C, self.header[3]])
        frame = frame_of(at_128k)
        assert frame is not None
        tag = b"Info" + _HAS_FRAMES.to_bytes(4, "big") + number
        return (at_128k.ljust(frame.tag_offset, b"\0") + tag).ljust(frame.n_bytes, b"\0")


class _Bytes:
    """A file's bytes, anywhere in it, read in large pieces."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start, self._data = file, 0, b""
        self.n_bytes = os.fstat(file.fileno()).st_size

    def at(self, offset: int, n_bytes: int = N_HEADER_BYTES) -> bytes:
        if not self._start <= offset <= self._start + len(self._data) - n_bytes:
            self._file.seek(offset)
            self._start, self._data = offset, self._file.read(_CHUNK_BYTES)
        return self._data[offset - self._start : offset - self._start + n_bytes]

    def frame(self, offset: int) -> Frame | None:
        """The whole frame that stands there."""
        frame = frame_of(self.at(offset))
        return frame if frame and offset + frame.n_bytes <= self.n_bytes else None

    def next_frame(self, offset: int) -> int | None:
        """Where the next frame begins that others of its form follow."""
        while offset < self.n_bytes:
            if tag_bytes := id3_bytes(self.at(offset, N_ID3_BYTES)):
                offset += tag_bytes
                continue
            if self._is_confirmed(offset):
                return offset
            piece = self.at(offset + 1, _MAX_FRAME_BYTES)
            found = min(x for x in (piece.find(b"\xff"), piece.find(b"ID3"), len(piece)) if x >= 0)
            offset += 1 + found
        return None

    def _is_confirmed(self, offset: int) -> bool:
        frame = first = self.frame(offset)
        for _ in range(_N_CONFIRMING):
            if first is None or frame is None or frame.form != first.form:
                return False
            offset += frame.n_bytes
            frame = self.frame(offset)
        return offset <= self.n_bytes


def runs(path: Path) -> Iterator[Run]:
    """All that a player finds to play, in order. Raises OSError."""
    with path.open("rb") as file:
        data, offset = _Bytes(file), 0
        while (start := data.next_frame(offset)) is not None:
            run = _run(data, start)
            yield run
            offset = run.end


def _run(data: _Bytes, start: int) -> Run:
    run, first = _begun(data, start), data.frame(start)
    end, n_frames = run.end, 0
    while first and (frame := data.frame(end)) and frame.form == first.form:
        if _is_tag(data, end, frame):  # what follows was encoded on its own
            break
        end, n_frames = end + frame.n_bytes, n_frames + 1
    rest = frame_of(data.at(end))
    is_part = rest is not None and first is not None and rest.form == first.form
    is_part = is_part and rest is not None and end + rest.n_bytes > data.n_bytes
    return replace(run, end=end, n_frames=n_frames, ends_amid_frame=is_part)


def _begun(data: _Bytes, start: int) -> Run:
    """The run that starts there, before its first frame of audio."""
    header, frame = data.at(start), data.frame(start)
    assert frame is not None
    if not _is_tag(data, start, frame):
        return Run(start, start, header)
    end, tag_at = start + frame.n_bytes, start + frame.tag_offset
    tag = data.at(tag_at, 12)
    if not tag[7] & _HAS_FRAMES:
        return Run(end, end, header)
    return Run(start, end, header, 0, tag_at + 8, int.from_bytes(tag[8:12], "big"))


def _is_tag(data: _Bytes, start: int, frame: Frame) -> bool:
    return frame.form[2] == 3 and data.at(start + frame.tag_offset) in (b"Xing", b"Info")


def states_its_length(path: Path) -> bool:
    """Whether the first frame states the number of frames and of bytes, and these are all that
    the file has: then nobody needs to count. Raises OSError."""
    with path.open("rb") as file:
        data = _Bytes(file)
        start = id3_bytes(data.at(0, N_ID3_BYTES))
        frame = data.frame(start)
        if frame is None or not _is_tag(data, start, frame):
            return False
        tag = data.at(start + frame.tag_offset, 16)
        n_left = data.n_bytes - start - int.from_bytes(tag[12:16], "big")
        both = _HAS_FRAMES | _HAS_BYTES
        return tag[7] & both == both and tag[8:12] != bytes(4) and n_left in (0, _ID3V1_BYTES)
