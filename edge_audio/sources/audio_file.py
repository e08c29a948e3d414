"""Audio to listen to: microphone, files, raw PCM on a pipe, each a `Source` of `Block`s.

The built-in scene for machines without a microphone is in `edge_audio.sources.demo`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Source, SourceStats, Timeline, paced
from edge_audio.sources.microphone import (
    Device,
    Microphone,
    find_device,
    has_microphone,
    list_devices,
)
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import one_line

__all__ = [
    "SAMPLE_FORMATS",
    "AudioFile",
    "Block",
    "Device",
    "Microphone",
    "Source",
    "SourceStats",
    "StdinPcm",
    "find_device",
    "has_microphone",
    "list_devices",
    "paced",
]

_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 1_000_000  # of files
_MAX_REASON_CHARS = 200
_MAX_BLOCK_VALUES = 1 << 22  # of all channels: 16 MB
_UNKNOWN_RIFF_BYTES = 0x7FFF_F000  # encoders that write to a pipe put such sizes or 0


class AudioFile:
    """WAV, FLAC, OGG, MP3 and whatever else libsndfile reads, of any rate, channels and length;
    read block by block, never whole.

    Where the format states its length (all but OGG), a file that ends early is delivered as far
    as it goes and then raises SourceError.
    """

    live = False
    stats = SourceStats()

    def __init__(
        self, path: str | Path, sample_rate_hz: int = 16_000, block_ms: float = 1000.0
    ) -> None:
        self.path = Path(path)
        self.name = str(path)
        self.sample_rate_hz = sample_rate_hz
        self._block_ms = block_ms

    def __enter__(self) -> AudioFile:
        if not self.path.is_file():
            raise UsageError(f"no such audio file: {self.path}")
        try:
            self._file = soundfile.SoundFile(self.path)
        except Exception as error:  # soundfile has several of its own, and TypeError for .raw
            raise SourceError(f"cannot read {self.path} as audio: {_reason(error)}") from error
        rate_hz = self._file.samplerate
        if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:  # hours of nothing, or blocks of gigabytes
            self._file.close()
            limits = f"{_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz"
            raise SourceError(
                f"{self.path} states {rate_hz} Hz: damaged, or convert it to {limits}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def duration_s(self) -> float:
        """Length as the file states it; known once the file is open."""
        return self._file.frames / self._file.samplerate

    def blocks(self) -> Iterator[Block]:
        """The file from its current position to its end, about block_ms at a time."""
        timeline = Timeline(self._file.samplerate, self.sample_rate_hz)
        n_read_frames = 0
        for frames in self._frames():
            n_read_frames += len(frames)
            yield from timeline.push(frames)
        yield from timeline.flush()
        if n_read_frames == 0:
            raise SourceError(f"{self.path} holds no audio")
        if n_read_frames < self._file.frames or _is_cut_short(self.path):
            seconds = n_read_frames / self._file.samplerate
            raise SourceError(f"{self.path} is truncated: it ends after {seconds:.1f} s")

    def _frames(self) -> Iterator[FloatArray]:
        """f32[n, n_channels] until the decoder has no more."""
        n_frames = round(self._file.samplerate * self._block_ms / 1000.0)
        n_frames = max(1, min(n_frames, _MAX_BLOCK_VALUES // self._file.channels))
        while True:
            try:
                frames = self._file.read(n_frames, dtype="float32", always_2d=True)
            except Exception as error:
                reason = _reason(error)
                raise SourceError(f"{self.path} is damaged or truncated: {reason}") from error
            if len(frames) == 0:
                return
            yield frames


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the path that soundfile puts before them."""
    if isinstance(error, UnicodeEncodeError):
        return "its name is not UTF-8: rename it"
    if isinstance(error, TypeError) and "samplerate" in str(error):  # RAW, by the file's name
        return "raw samples have no header: convert it to WAV, or pipe it into listen --source -"
    text: str = getattr(error, "error_string", None) or str(error)
    text = one_line(text, _MAX_REASON_CHARS).rstrip(".").removeprefix("Error : ")
    return text or type(error).__name__


def _is_cut_short(path: Path) -> bool:
    """Whether a RIFF file is shorter than its header says; libsndfile would read on silently."""
    with path.open("rb") as file:
        header = file.read(8)
    if header[:4] != b"RIFF":
        return False
    n_riff_bytes = int.from_bytes(header[4:8], "little")
    return path.stat().st_size < n_riff_bytes + 8 and n_riff_bytes < _UNKNOWN_RIFF_BYTES


# name -> (dtype of the stored sample, value of full scale); s24le has no dtype of its own.
_SAMPLE_TYPES: dict[str, tuple[str, float]] = {
    "u8": ("u1", 2.0**7),
    "s16le": ("<i2", 2.0**15),
    "s16be": (">i2", 2.0**15),
    "s24le": ("<i4", 2.0**31),
    "s32le": ("<i4", 2.0**31),
    "f32le": ("<f4", 1.0),
}
SAMPLE_FORMATS = tuple(_SAMPLE_TYPES)

_FILE_MAGIC = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3"}


def _may_become_magic(head: bytes) -> bool:
    """Whether it takes more bytes to see that this is no file."""
    return any(len(head) < len(magic) and magic.startswith(head) for magic in _FILE_MAGIC)


def decode_pcm(data: bytes, sample_format: str) -> FloatArray:
    """Whole samples of raw PCM -> f32[n] with full scale at 1.0."""
    dtype, full_scale = _SAMPLE_TYPES[sample_format]
    if sample_format == "s24le":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data = padded.tobytes()  # the 24 bits become the upper ones of 32
    samples = np.frombuffer(data, dtype).astype(np.float32)
    if sample_format == "u8":
        samples -= 128.0
    with np.errstate(invalid="ignore"):  # a signalling NaN among floats becomes a quiet one
        scaled: FloatArray = samples / np.float32(full_scale)
    return scaled


def sample_bytes(sample_format: str) -> int:
    """Size of one sample."""
    return 3 if sample_format == "s24le" else int(_SAMPLE_TYPES[sample_format][0][-1])


def pcm_blocks(
    pieces: Iterable[bytes], timeline: Timeline, sample_format: str, n_channels: int = 1
) -> Iterator[Block]:
    """Raw interleaved PCM, cut anywhere, -> blocks; an incomplete last frame is dropped."""
    n_frame_bytes = n_channels * sample_bytes(sample_format)
    pending = b""
    for piece in pieces:
        pending += piece
        n_whole = len(pending) - len(pending) % n_frame_bytes
        samples = decode_pcm(pending[:n_whole], sample_format)
        pending = pending[n_whole:]
        yield from timeline.push(samples.reshape(-1, n_channels))
    yield from timeline.flush()


class StdinPcm:
    """Raw interleaved PCM from a binary stream, delivered as soon as it arrives.

    stream: such as `sys.stdin.buffer`; it is not closed.
    sample_format: one of SAMPLE_FORMATS, named as in ffmpeg.
    block_ms: longest block; a slow pipe gives shorter ones.
    """

    live = True  # whoever writes into the pipe sets the pace
    stats = SourceStats()

    def __init__(
        self,
        stream: BinaryIO,
        rate_hz: int = 16_000,
        sample_format: str = "s16le",
        n_channels: int = 1,
        sample_rate_hz: int = 16_000,
        block_ms: float = 80.0,
    ) -> None:
        if sample_format not in _SAMPLE_TYPES:
            known = ", ".join(SAMPLE_FORMATS)
            raise UsageError(f"unknown sample format {sample_format!r}; choose one of {known}")
        if rate_hz <= 0 or n_channels <= 0:
            raise UsageError("the rate and the number of channels must be positive")
        self.name = "stdin"
        self.sample_rate_hz = sample_rate_hz
        self._rate_hz = rate_hz
        self._sample_format = sample_format
        self._n_channels = n_channels
        n_frames = max(1, round(rate_hz * block_ms / 1000.0))
        self._n_block_bytes = n_frames * n_channels * sample_bytes(sample_format)
        # A buffered stream's read() would wait for a full block.
        self._read = getattr(stream, "read1", stream.read)
        self._is_terminal = stream.isatty()

    def __enter__(self) -> StdinPcm:
        if self._is_terminal:
            raise UsageError(
                "stdin is a terminal; pipe raw PCM into it: `arecord -t raw -f S16_LE -r 16000 | "
                "edge-audio listen --source -`"
            )
        return self

    def __exit__(self, *_: object) -> None:
        """The stream belongs to the caller."""

    def blocks(self) -> Iterator[Block]:
        """Until the stream ends; an incomplete last sample is dropped."""
        timeline = Timeline(self._rate_hz, self.sample_rate_hz)
        yield from pcm_blocks(self._chunks(), timeline, self._sample_format, self._n_channels)

    def _chunks(self) -> Iterator[bytes]:
        head = b""
        while _may_become_magic(head) and (data := self._read_some()):
            head += data
        if not head:
            raise SourceError("stdin ended before any audio came; pipe raw PCM into it")
        self._refuse_file(head)
        yield head
        while data := self._read_some():
            yield data

    def _read_some(self) -> bytes:
        try:
            return self._read(self._n_block_bytes)
        except OSError as error:
            raise SourceError(f"cannot read stdin: {error}") from error

    def _refuse_file(self, data: bytes) -> None:
        for magic, kind in _FILE_MAGIC.items():
            if data.startswith(magic):
                raise UsageError(
                    f"stdin holds a {kind} file, not raw PCM; give its path instead of `-`, or "
                    "send raw samples (`arecord -t raw`, `ffmpeg -f s16le`)"
                )
