"""What headers claim of the length of plain samples, and how much of it is true.

WAV, RF64, W64, AIFF, CAF, AU and VOC state it in a size that the writer fills in at the end: one
that wrote into a pipe or was ended could not, some count wrongly, and 32 bits end at 4 GiB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

_UNKNOWN_BYTES = 0x7FFF_F000  # encoders that write to a pipe put such sizes, or all bits, or 0
_UNKNOWN_LONG_BYTES = 1 << 62
_WRONG_BYTES = 64  # by which a size may be wrong without a loss
_MIN_TAIL_BYTES = 12  # what is shorter, behind the samples, is no audio
_MAX_CHUNKS = 10_000
_ALL_BITS = b"\xff" * 4  # as a size: to the end of the file
_VOC_MAGIC = b"Creative Voice File"
_VOC_HEADER_SIZE_AT, _VOC_END = 20, 0
_RF64 = (b"RF64", b"BW64")
_RF64_SIZES_AT = 20  # of the whole and of the samples, 8 bytes each


class Layout(NamedTuple):
    """Of one format. order: of the bytes of sizes. n_header_bytes: before the first chunk.
    data: name of the chunk with the samples. forms: what stands at form_at. n_size_bytes: of a
    chunk's size. counts_itself: it holds its name and the size as well. align: of chunks.
    n_skipped_bytes: before the samples in their chunk."""

    order: Literal["little", "big"]
    n_header_bytes: int
    data: bytes
    forms: tuple[bytes, ...]
    form_at: int = 8
    n_size_bytes: int = 4
    counts_itself: bool = False
    align: int = 2
    n_skipped_bytes: int = 0


_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")  # names are GUIDs there
_WAV = Layout("little", 12, b"data", (b"WAVE",))
_LAYOUTS = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"BW64": _WAV,
    b"RIFX": _WAV._replace(order="big"),
    b"FORM": Layout("big", 12, b"SSND", (b"AIFF", b"AIFC"), n_skipped_bytes=8),
    b"caff": Layout("big", 8, b"data", (b"\0\x01",), 4, n_size_bytes=8, align=1),
    b"riff": Layout("little", 40, _W64_DATA, (b"wave",), 24, 8, counts_itself=True, align=8),
}


@dataclass(frozen=True)
class Recording:
    """One of a file, start to end. patches: what makes its header true, see FileView.
    missing_bytes: of samples, which it claims and has not."""

    start: int
    end: int
    patches: dict[int, bytes] = field(default_factory=dict)
    missing_bytes: int = 0


class _Chunk(NamedTuple):
    name: bytes
    size_at: int
    begins: int
    n_bytes: int

    @property
    def end(self) -> int:
        return self.begins + self.n_bytes


def recordings(path: Path) -> Iterator[Recording]:
    """Those in a file of one of these formats, mostly one; none in others. Raises OSError."""
    with path.open("rb") as file:
        n_bytes, start = os.fstat(file.fileno()).st_size, 0
        while start < n_bytes and (recording := _recording(file, start, n_bytes)):
            yield recording
            start = recording.end


def _recording(file: BinaryIO, start: int, n_bytes: int) -> Recording | None:
    if (magic := _read(file, start, 4)) in (b".snd", b"dns."):
        return _au(file, start, n_bytes, "big" if magic == b".snd" else "little")
    if magic == _VOC_MAGIC[:4] and _read(file, start, len(_VOC_MAGIC)) == _VOC_MAGIC:
        return _voc(file, start, n_bytes)
    layout = _layout(file, start)
    if layout is None:
        return None
    for chunk in _chunks(file, layout, start, n_bytes):
        if chunk.name == layout.data:
            return _measured(file, layout, start, chunk, n_bytes)
    return None


def _layout(file: BinaryIO, start: int) -> Layout | None:
    """Of the recording that begins there."""
    layout = _LAYOUTS.get(_read(file, start, 4))
    if layout is None:
        return None
    form = _read(file, start + layout.form_at, len(layout.forms[0]))
    return layout if form in layout.forms else None


def _chunks(file: BinaryIO, layout: Layout, start: int, n_bytes: int) -> Iterator[_Chunk]:
    """As their sizes lead from one to the next, whatever they say."""
    at = start + layout.n_header_bytes
    for _ in range(_MAX_CHUNKS):
        chunk = _chunk(file, layout, at)
        if chunk is None or chunk.n_bytes < 0:
            return
        yield chunk
        at = chunk.end + (start - chunk.end) % layout.align
        if at >= n_bytes:
            return


def _chunk(file: BinaryIO, layout: Layout, at: int) -> _Chunk | None:
    n_name_bytes = len(layout.data)
    n_head_bytes = n_name_bytes + layout.n_size_bytes
    head = _read(file, at, n_head_bytes)
    if len(head) < n_head_bytes:
        return None
    size = int.from_bytes(head[n_name_bytes:], layout.order)
    own = n_head_bytes if layout.counts_itself else 0
    return _Chunk(head[:n_name_bytes], at + n_name_bytes, at + n_head_bytes, size - own)


def _measured(file: BinaryIO, layout: Layout, start: int, data: _Chunk, n_bytes: int) -> Recording:
    """The recording whose samples are in that chunk: by what it claims, as far as that is true."""
    is_rf64 = _read(file, start, 4) in _RF64
    if is_rf64:
        sizes = _read(file, start + _RF64_SIZES_AT, 16)
        data = data._replace(n_bytes=int.from_bytes(sizes[8:], "little"))
    tail = data.end + (start - data.end) % layout.align
    if data.end <= n_bytes and (end := _end_of_tail(file, layout, tail, n_bytes)) is not None:
        return Recording(start, end)
    true_bytes = n_bytes - data.begins
    patches = {data.size_at: _size(layout, true_bytes)}
    if is_rf64:
        patches = {start + _RF64_SIZES_AT: _both_sizes(n_bytes - start, true_bytes)}
    return Recording(start, n_bytes, patches, _missing(layout, data, true_bytes))


def _missing(layout: Layout, data: _Chunk, true_bytes: int) -> int:
    limit = _UNKNOWN_BYTES if layout.n_size_bytes == 4 else _UNKNOWN_LONG_BYTES
    missing = data.n_bytes - true_bytes
    return missing if data.n_bytes < limit and missing > _WRONG_BYTES else 0


def _size(layout: Layout, true_bytes: int) -> bytes:
    """What to write as the size of the samples."""
    if layout.n_size_bytes == 4:
        return _ALL_BITS
    own = len(layout.data) + layout.n_size_bytes if layout.counts_itself else 0
    return (true_bytes + own).to_bytes(layout.n_size_bytes, layout.order)


def _both_sizes(n_bytes: int, true_bytes: int) -> bytes:
    return (n_bytes - 8).to_bytes(8, "little") + true_bytes.to_bytes(8, "little")


def _end_of_tail(file: BinaryIO, layout: Layout, at: int, n_bytes: int) -> int | None:
    """Where the recording ends whose samples end there: after its other chunks. None if what
    stands there is no chunk, so that it must be samples."""
    for _ in range(_MAX_CHUNKS):
        if _layout(file, at):
            return at
        if n_bytes - at < _MIN_TAIL_BYTES or _read(file, at, 3) in (b"ID3", b"TAG"):
            return n_bytes
        chunk = _chunk(file, layout, at)
        if chunk is None or chunk.n_bytes < 0 or chunk.end > n_bytes + 1:
            return None
        if not (chunk.name[:4].isascii() and chunk.name[:4].decode().isprintable()):
            return None
        at = chunk.end + (-chunk.n_bytes) % layout.align
    return n_bytes


def _au(file: BinaryIO, start: int, n_bytes: int, order: Literal["little", "big"]) -> Recording:
    """All behind the header is samples."""
    header = _read(file, start, 12)
    begins, claimed = (int.from_bytes(header[i : i + 4], order) for i in (4, 8))
    missing = claimed - (n_bytes - start - begins)
    is_cut = missing > 0 and claimed < _UNKNOWN_BYTES and missing > _WRONG_BYTES
    return Recording(start, n_bytes, {start + 8: _ALL_BITS}, missing if is_cut else 0)


def _voc(file: BinaryIO, start: int, n_bytes: int) -> Recording:
    """Blocks of samples and others, as their sizes lead to the last."""
    at = start + int.from_bytes(_read(file, start + _VOC_HEADER_SIZE_AT, 2), "little")
    for _ in range(_MAX_CHUNKS):
        head = _read(file, at, 4)
        if len(head) < 4 or head[0] == _VOC_END:
            break
        at += 4 + int.from_bytes(head[1:], "little")
    missing = at - n_bytes
    return Recording(start, n_bytes, {}, missing if missing > _WRONG_BYTES else 0)


def _read(file: BinaryIO, at: int, n_bytes: int) -> bytes:
    file.seek(at)
    return file.read(n_bytes)
