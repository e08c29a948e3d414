"""Links of a chained Ogg file: recordings that follow one another in it (RFC 3533)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_N_HEADER_BYTES = 27
_BEGINS = 0x02  # flag of a page
_SEARCH_BYTES = 1 << 16


@dataclass(frozen=True)
class Links:
    """parts: (start, end) of each in the file. is_cut: the last page is not whole."""

    parts: list[tuple[int, int]]
    is_cut: bool


def links(path: Path) -> Links:
    """Looks at the header of each page. Raises OSError."""
    starts: list[int] = []
    with path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        at, was_beginning, is_cut = _next_page(file, 0), False, False
        while at is not None:
            file.seek(at)
            header = file.read(_N_HEADER_BYTES + 255)
            is_beginning = bool(header[5] & _BEGINS)
            if is_beginning and not was_beginning:  # several at once are streams side by side
                starts.append(at)
            was_beginning = is_beginning
            end = at + _page_bytes(header)
            is_cut = end > n_bytes
            at = None if is_cut else _next_page(file, end)
    return Links(list(zip(starts, [*starts, n_bytes][1:], strict=True)), is_cut)


def _page_bytes(header: bytes) -> int:
    """Length of the page with this header; more than there is of one that is not whole."""
    n_segments = header[26]
    table = header[_N_HEADER_BYTES : _N_HEADER_BYTES + n_segments]
    missing = (n_segments - len(table)) * 255
    return _N_HEADER_BYTES + n_segments + sum(table) + missing


def _next_page(file: BinaryIO, at: int) -> int | None:
    """Where the next page begins whose header is whole."""
    file.seek(at)
    data = b""
    while piece := file.read(_SEARCH_BYTES if data else _N_HEADER_BYTES):
        data = data[-3:] + piece if len(data) > 3 else data + piece
        at_end = file.tell()
        found = data.find(b"OggS")
        if found >= 0:
            start = at_end - len(data) + found
            is_whole = start + _N_HEADER_BYTES <= os.fstat(file.fileno()).st_size
            return start if is_whole else None
    return None
