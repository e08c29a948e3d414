"""FLAC streams in a file, and what their headers claim (RFC 9639, 8.2)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"fLaC"
_STREAMINFO = (b"\0\0\0\x22", b"\x80\0\0\x22")  # the first block's header; the last block, or not
_TOTAL_AT = 21  # of the stream: 4 bits of others, then 36 of the number of samples
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FlacStream:
    """start, end: in the file. stated_frames: what its header says, 0 if it does not know.
    patches: that make it say so."""

    start: int
    end: int
    stated_frames: int
    patches: dict[int, bytes]


def flac_streams(path: Path) -> list[FlacStream]:
    """Those that were joined, mostly one. Raises OSError."""
    found: list[tuple[int, bytes]] = []
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        at, data = 0, b""
        while piece := file.read(_CHUNK_BYTES):
            data += piece
            found += [(at + i, data[i + _TOTAL_AT : i + _TOTAL_AT + 5]) for i in _starts(data)]
            kept = min(len(data), _TOTAL_AT + 5 - 1)
            at, data = at + len(data) - kept, data[-kept:]
    ends = [*(start for start, _ in found), n_bytes][1:]
    return [_stream(*begun, end) for begun, end in zip(found, ends, strict=True)]


def _starts(data: bytes) -> list[int]:
    """Where streams begin whose number of samples is in the data as well."""
    starts, at = [], data.find(_MAGIC)
    while 0 <= at <= len(data) - _TOTAL_AT - 5:
        if data[at + 4 : at + 8] in _STREAMINFO:
            starts.append(at)
        at = data.find(_MAGIC, at + 1)
    return starts


def _stream(start: int, total: bytes, end: int) -> FlacStream:
    stated = int.from_bytes(total, "big") & (1 << 36) - 1
    unknown = bytes([total[0] & 0xF0, 0, 0, 0, 0])
    return FlacStream(start, end, stated, {start + _TOTAL_AT: unknown})
