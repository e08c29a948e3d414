"""What every audio source delivers: consecutive blocks of mono samples on one clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from edge_audio.sources.resample import MIX, StreamResampler
from edge_audio.support.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Block:
    """A stretch of audio without gaps.

    samples: f32[n > 0] mono, nominally within [-1, 1], never NaN.
    time_s: audio time of samples[0] since the start of the source, lost samples included.
    n_lost_samples: length of the gap just before this block, at the rate of `samples`.
    has_unknown_gap: the sound system lost some audio before this block and cannot say how much;
        time_s and n_lost_samples leave it out.
    """

    samples: FloatArray
    time_s: float
    n_lost_samples: int = 0
    has_unknown_gap: bool = False

    @property
    def n_frames(self) -> int:
        """Samples that are lost if this block is: its own and the gap before it."""
        return self.n_lost_samples + len(self.samples)


SourceT = TypeVar("SourceT", bound="Source")


class Source(Protocol):
    """Audio to listen to: `with source: for block in source.blocks(): ...`.

    sample_rate_hz: rate of the blocks, whatever the rate of the original.
    name: what a user calls it (path, device name, ...).
    live: audio arrives at its own pace, which the source waits for.
    waits: audio that nobody takes yet waits (in a file, a pipe), for as long as it has to.
    max_burst_s: how much audio it may deliver at once, above what its pace brings.
    n_restarts: how often it was opened again after it broke, or tried to be.
    """

    sample_rate_hz: int
    name: str
    live: bool
    waits: bool
    max_burst_s: float
    n_restarts: int

    def __enter__(self: SourceT) -> SourceT:
        """Opens the source. Raises UsageError or SourceError."""

    def __exit__(self, *_: object) -> None:
        """Closes it, without waiting for audio; `blocks` must have come to its end."""

    def blocks(self) -> Iterator[Block]:
        """Blocks until the audio ends, or soon after `stop`. Raises SourceError when it breaks
        off."""

    def stop(self) -> None:
        """Called by another thread: `blocks` waits for audio no longer than half a second from
        now on. A source that was stopped is not started again."""


class Timeline:
    """Turns frames as they are read into blocks at another rate, each with its time.

    position_samples: of the next block.
    """

    def __init__(
        self, in_rate_hz: int, out_rate_hz: int, position_samples: int = 0, channel: str = MIX
    ) -> None:
        """position_samples: at out_rate_hz, of what came before. channel: see `Downmix`."""
        self.in_rate_hz = in_rate_hz
        self.position_samples = position_samples
        self._resampler = StreamResampler(in_rate_hz, out_rate_hz, channel)
        self._n_lost_samples = 0
        self._has_unknown_gap = False

    def push(self, frames: FloatArray, has_unknown_gap: bool = False) -> Iterator[Block]:
        """f32[n] or f32[n, n_channels] at in_rate_hz -> no block or one."""
        self._has_unknown_gap |= has_unknown_gap  # told by the next block, which may come later
        yield from self._block(self._resampler.push(frames))

    def skip(self, n_lost_frames: int) -> Iterator[Block]:
        """Marks a gap of that many input frames: the audio before it is completed, and the next
        block starts after it."""
        yield from self.flush()
        ratio = self._resampler.out_rate_hz / self._resampler.in_rate_hz
        n_lost_samples = round(n_lost_frames * ratio)
        self._n_lost_samples += n_lost_samples
        self.position_samples += n_lost_samples

    def flush(self) -> Iterator[Block]:
        """The samples that the resampler held back."""
        yield from self._block(self._resampler.flush())

    def _block(self, samples: FloatArray) -> Iterator[Block]:
        if len(samples) == 0:
            return
        time_s = self.position_samples / self._resampler.out_rate_hz
        block = Block(samples, time_s, self._n_lost_samples, self._has_unknown_gap)
        self.position_samples += len(samples)
        self._n_lost_samples, self._has_unknown_gap = 0, False
        yield block


def timed(
    stretches: Iterable[tuple[int, FloatArray]], out_rate_hz: int, channel: str = MIX
) -> Iterator[Block]:
    """Blocks of (rate in Hz, f32[n, n_channels]), whose rate may change."""
    timeline: Timeline | None = None
    for rate_hz, frames in stretches:
        if timeline is None or timeline.in_rate_hz != rate_hz:
            yield from timeline.flush() if timeline else ()
            position = timeline.position_samples if timeline else 0
            timeline = Timeline(rate_hz, out_rate_hz, position, channel)
        yield from timeline.push(frames)
    yield from timeline.flush() if timeline else ()


def paced(
    blocks: Iterable[Block], sample_rate_hz: int, sleep: Callable[[float], object] = time.sleep
) -> Iterator[Block]:
    """The same blocks, none earlier than a microphone could have heard it: block by block when
    its last sample is due, counted from the first request. sleep: waits that many seconds."""
    start_s = time.monotonic()
    for block in blocks:
        due_s = start_s + block.time_s + len(block.samples) / sample_rate_hz
        sleep(max(0.0, due_s - time.monotonic()))
        yield block


def first_seconds(
    blocks: Iterable[Block], sample_rate_hz: int, duration_s: float
) -> Iterator[Block]:
    """The blocks up to duration_s of audio, the last one cut to the sample."""
    n_left = round(duration_s * sample_rate_hz)
    for block in blocks:
        samples = block.samples[:n_left]
        yield replace(block, samples=samples)
        n_left -= len(samples)
        if n_left <= 0:
            return
