"""WAV as it comes through a pipe: a header that may state no length, and samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge_audio.sources.samples import sample_bytes

_UNKNOWN_BYTES = 0x7FFF_0000  # what writes into a pipe states such sizes, or all bits, or 0
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_EXTENSIBLE_TAG_AT = 24  # of the chunk, where what it stands for begins
_FORMATS = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16le",
    (_PCM, 24): "s24le",
    (_PCM, 32): "s32le",
    (_FLOAT, 32): "f32le",
}


@dataclass(frozen=True)
class WavForm:
    """begins: where the samples do. n_bytes: of them; None where nobody knows."""

    sample_format: str
    rate_hz: int
    n_channels: int
    begins: int
    n_bytes: int | None

    def samples(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of samples in those of the file, cut anywhere."""
        n_before, n_left = self.begins, self.n_bytes
        for piece in pieces:
            data = piece[n_before:]
            n_before = max(0, n_before - len(piece))
            if n_left is not None and len(data) > n_left:
                if _may_be_a_chunk(data[n_left : n_left + 4]):
                    yield data[:n_left]
                    return
                n_left = None  # beyond 4 GiB sizes begin again at 0
            if n_left is not None:
                n_left -= len(data)
            yield data

    @property
    def stated_s(self) -> float:
        """How long the samples are; 0 where nobody knows."""
        n_frame_bytes = self.n_channels * sample_bytes(self.sample_format)
        return (self.n_bytes or 0) / n_frame_bytes / self.rate_hz


def _may_be_a_chunk(name: bytes) -> bool:
    return name.isascii() and name.decode().isprintable()


def wav_form(head: bytes) -> WavForm | None:
    """Of a file that begins so; None for one that is no WAV of plain samples."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at, chunk = 12, b""
    while len(head) >= at + 8:
        name, n_bytes = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"data":
            return _form(chunk, at + 8, n_bytes if 0 < n_bytes < _UNKNOWN_BYTES else None)
        if name == b"fmt ":
            chunk = head[at + 8 : at + 8 + n_bytes]
        at += 8 + n_bytes + n_bytes % 2
    return None


def _form(chunk: bytes, begins: int, n_bytes: int | None) -> WavForm | None:
    if len(chunk) < 16:
        return None
    tag, n_channels = (int.from_bytes(chunk[i : i + 2], "little") for i in (0, 2))
    rate_hz, n_bits = int.from_bytes(chunk[4:8], "little"), int.from_bytes(chunk[14:16], "little")
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(chunk[_EXTENSIBLE_TAG_AT : _EXTENSIBLE_TAG_AT + 2], "little")
    sample_format = _FORMATS.get((tag, n_bits))
    is_sound = 1_000 <= rate_hz <= 1_000_000 and 0 < n_channels <= 1_024
    if sample_format is None or not is_sound:
        return None
    return WavForm(sample_format, rate_hz, n_channels, begins, n_bytes)
