"""What every audio source delivers: consecutive blocks of mono samples on one clock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from edge_audio.sources.resample import StreamResampler
from edge_audio.support.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Block:
    """A stretch of audio without gaps.

    samples: f32[n > 0] mono, nominally within [-1, 1].
    time_s: audio time of samples[0] since the start of the source, lost samples included.
    n_dropped: samples lost just before this block, at the rate of `samples`.
    overflowed: the sound system reported that it lost an unknown amount before this block.
    """

    samples: FloatArray
    time_s: float
    n_dropped: int = 0
    overflowed: bool = False


@dataclass(frozen=True)
class SourceStats:
    """n_overflows: losses of unknown length, as reported by the sound system.
    n_dropped_samples: samples thrown away because they were not consumed in time.
    n_restarts: how often it was opened again after it broke, or tried to be.
    """

    n_overflows: int = 0
    n_dropped_samples: int = 0
    n_restarts: int = 0


SourceT = TypeVar("SourceT", bound="Source")


class Source(Protocol):
    """Audio to listen to: `with source: for block in source.blocks(): ...`.

    sample_rate_hz: rate of the blocks, whatever the rate of the original.
    name: what a user calls it (path, device name, ...).
    live: audio arrives at its own pace, which the source waits for.
    """

    sample_rate_hz: int
    name: str
    live: bool

    def __enter__(self: SourceT) -> SourceT:
        """Opens the source. Raises UsageError or SourceError."""

    def __exit__(self, *_: object) -> None:
        """Closes it, without waiting for audio."""

    def blocks(self) -> Iterator[Block]:
        """Blocks until the audio ends. Raises SourceError when it breaks off."""

    @property
    def stats(self) -> SourceStats:
        """What has been lost so far."""


class Timeline:
    """Turns frames as they are read into blocks at another rate, each with its time."""

    def __init__(self, in_rate_hz: int, out_rate_hz: int) -> None:
        self._resampler = StreamResampler(in_rate_hz, out_rate_hz)
        self._position_samples = 0
        self._n_dropped = 0
        self._overflowed = False

    def push(self, frames: FloatArray, overflowed: bool = False) -> Iterator[Block]:
        """f32[n] or f32[n, n_channels] at in_rate_hz -> no block or one."""
        self._overflowed |= overflowed  # told by the next block, which may come later
        yield from self._block(self._resampler.push(frames))

    def skip(self, n_lost_frames: int) -> Iterator[Block]:
        """Marks a gap of that many input frames: the audio before it is completed, and the next
        block starts after it."""
        yield from self.flush()
        ratio = self._resampler.out_rate_hz / self._resampler.in_rate_hz
        n_dropped = round(n_lost_frames * ratio)
        self._n_dropped += n_dropped
        self._position_samples += n_dropped

    def flush(self) -> Iterator[Block]:
        """The samples that the resampler held back."""
        yield from self._block(self._resampler.flush())

    def _block(self, samples: FloatArray) -> Iterator[Block]:
        if len(samples) == 0:
            return
        time_s = self._position_samples / self._resampler.out_rate_hz
        block = Block(samples, time_s, self._n_dropped, self._overflowed)
        self._position_samples += len(samples)
        self._n_dropped, self._overflowed = 0, False
        yield block


def paced(blocks: Iterable[Block], sample_rate_hz: int) -> Iterator[Block]:
    """The same blocks, none earlier than a microphone could have heard it: block by block when
    its last sample is due, counted from the first request."""
    start_s = time.monotonic()
    for block in blocks:
        due_s = start_s + block.time_s + len(block.samples) / sample_rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
        yield block
