"""Raw PCM: its sample formats, and the source that reads it from a pipe."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Timeline
from edge_audio.sources.kinds import MAX_HEAD_BYTES, begins_like_a_kind, kind_of
from edge_audio.sources.resample import MIX
from edge_audio.support.arrays import FloatArray

_POLL_S = 0.2  # how often one that waits for bytes looks whether it was stopped

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
    """Raw interleaved PCM, cut anywhere, -> blocks; an incomplete last frame is left out."""
    n_frame_bytes = n_channels * sample_bytes(sample_format)
    pending = b""
    for piece in pieces:
        pending += piece
        n_whole = len(pending) - len(pending) % n_frame_bytes
        samples = decode_pcm(pending[:n_whole], sample_format)
        pending = pending[n_whole:]
        yield from timeline.push(samples.reshape(-1, n_channels))
    yield from timeline.flush()


def _descriptor(stream: BinaryIO) -> int | None:
    """What to wait for; None for a stream in memory, which makes nobody wait, and on Windows,
    where a pipe cannot be waited for with a limit."""
    if sys.platform == "win32":
        return None
    try:
        return stream.fileno()
    except (OSError, AttributeError):
        return None


def _has_input(descriptor: int) -> bool:
    """Whether reading returns at once, with bytes or the end, within _POLL_S."""
    return bool(select.select([descriptor], [], [], _POLL_S)[0])


class StdinPcm:
    """Raw interleaved PCM from a binary stream, delivered as soon as it arrives.

    stream: such as `sys.stdin.buffer`, of which nothing was read yet; it is not closed.
    sample_format: one of SAMPLE_FORMATS, named as in ffmpeg.
    block_ms: longest block; a slow pipe gives shorter ones.
    """

    live = True  # whoever writes into the pipe sets the pace
    waits = True
    max_burst_s = 0.0
    n_restarts = 0

    def __init__(
        self,
        stream: BinaryIO,
        rate_hz: int = 16_000,
        sample_format: str = "s16le",
        n_channels: int = 1,
        sample_rate_hz: int = 16_000,
        block_ms: float = 80.0,
        channel: str = MIX,
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
        self._n_channels, self._channel = n_channels, channel
        n_frames = max(1, round(rate_hz * block_ms / 1000.0))
        self._n_block_bytes = n_frames * n_channels * sample_bytes(sample_format)
        # A buffered stream's read() would wait for a full block.
        self._read = getattr(stream, "read1", stream.read)
        self._descriptor = _descriptor(stream)
        self._stopped = threading.Event()
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

    def stop(self) -> None:
        self._stopped.set()

    def blocks(self) -> Iterator[Block]:
        """Blocks until the stream ends; an incomplete last sample is left out."""
        timeline = Timeline(self._rate_hz, self.sample_rate_hz, channel=self._channel)
        yield from pcm_blocks(self._chunks(), timeline, self._sample_format, self._n_channels)

    def _chunks(self) -> Iterator[bytes]:
        head = b""
        while begins_like_a_kind(head) and (data := self._read_some()):
            head += data
        if not head and not self._stopped.is_set():
            raise SourceError("stdin ended before any audio came; pipe raw PCM into it")
        _refuse_file(head)
        yield head
        while data := self._read_some():
            if len(head) < MAX_HEAD_BYTES:  # some kinds show only then
                head += data
                _refuse_file(head)
            yield data

    def _read_some(self) -> bytes:
        """The next bytes; none at the end, or once this was stopped."""
        try:
            while not self._stopped.is_set():
                if self._descriptor is None:
                    return bytes(self._read(self._n_block_bytes))
                # Not by the stream, to which a pipe that does not wait looks as if it had ended
                with suppress(BlockingIOError):
                    if _has_input(self._descriptor):
                        return os.read(self._descriptor, self._n_block_bytes)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise SourceError(f"cannot read stdin: {error}") from error
        return b""


def _refuse_file(head: bytes) -> None:
    """Raises UsageError if what began so is a file: its bytes would be heard as noise."""
    if kind := kind_of(head):
        raise UsageError(
            f"stdin holds {kind}, not raw PCM; give its path instead of `-`, or "
            "send raw samples (`arecord -t raw`, `ffmpeg -f s16le`)"
        )
