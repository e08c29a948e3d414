"""Standard input: raw PCM, and files that are recognised."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain
from typing import BinaryIO

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Timeline, timed
from edge_audio.sources.kinds import APPLE_DOUBLE, MAX_HEAD_BYTES, kind_of, may_be_a_kind
from edge_audio.sources.media import INSTALL_HINT, MediaDecoder, has_media
from edge_audio.sources.piped_wav import wav_form
from edge_audio.sources.resample import MIX
from edge_audio.sources.samples import SAMPLE_FORMATS, FullScale, decode_pcm, sample_bytes

_INSTEAD = "give its path instead of `-`, or send raw samples (`arecord -t raw`, `ffmpeg -f s16le`)"
_SEEK = "give its path: some kinds cannot be read from a pipe"
_MISSING_S = 0.01  # by which a stated length may be wrong
_POLL_S = 0.2  # how often one that waits for bytes looks whether it was stopped


def pcm_blocks(
    pieces: Iterable[bytes], timeline: Timeline, sample_format: str, n_channels: int = 1
) -> Iterator[Block]:
    """Raw interleaved PCM, cut anywhere, -> blocks; an incomplete last frame is left out."""
    n_frame_bytes = n_channels * sample_bytes(sample_format)
    pending, full_scale = b"", FullScale()
    for piece in pieces:
        pending += piece
        n_whole = len(pending) - len(pending) % n_frame_bytes
        samples = decode_pcm(pending[:n_whole], sample_format)
        if sample_format == "f32le" and len(samples):
            samples = full_scale.push(samples)
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
    """Raw interleaved PCM from a binary stream, delivered as soon as it arrives; or a file that
    is recognised by its first bytes.

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
        if sample_format not in SAMPLE_FORMATS:
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
        """Blocks until the stream ends; an incomplete last sample is left out. Of a file that is
        recognised, what it says of rate and format holds. Raises SourceError, and UsageError for
        a file that nothing here decodes."""
        head = self._head()
        kind, form = kind_of(head), wav_form(head)
        if form is not None:
            rest = form.samples(chain([head], iter(self._read_some, b"")))
            form_of = form.rate_hz, form.sample_format, form.n_channels
            yield from self._to_its_end(self._blocks_of(rest, *form_of), form.stated_s)
        elif kind is not None:
            yield from self._decoded(kind, head)
        else:
            form_of = self._rate_hz, self._sample_format, self._n_channels
            yield from self._blocks_of(self._bare(head), *form_of)

    def _blocks_of(
        self, pieces: Iterable[bytes], rate_hz: int, sample_format: str, n_channels: int
    ) -> Iterator[Block]:
        timeline = Timeline(rate_hz, self.sample_rate_hz, channel=self._channel)
        return pcm_blocks(pieces, timeline, sample_format, n_channels)

    def _to_its_end(self, blocks: Iterator[Block], stated_s: float) -> Iterator[Block]:
        """Raises SourceError at the end if that comes before it should."""
        heard_s = 0.0
        for block in blocks:
            heard_s = block.time_s + len(block.samples) / self.sample_rate_hz
            yield block
        if heard_s < stated_s - _MISSING_S and not self._stopped.is_set():
            raise SourceError(f"stdin is truncated: it ends after {heard_s:.1f} s")

    def _head(self) -> bytes:
        """What came first, as far as it takes to know what it is."""
        head = self._read_some()
        while may_be_a_kind(head) and (data := self._read_some()):
            head += data
        if not head and not self._stopped.is_set():
            raise SourceError("stdin ended before any audio came; pipe raw PCM or a file into it")
        return head

    def _bare(self, head: bytes) -> Iterator[bytes]:
        """Samples of the form that the user states."""
        yield head
        while data := self._read_some():
            if len(head) < MAX_HEAD_BYTES:  # some kinds show only then
                head += data
                if kind := kind_of(head):
                    raise UsageError(f"stdin holds {kind}, not raw PCM; {_INSTEAD}")
            yield data

    def _decoded(self, kind: str, head: bytes) -> Iterator[Block]:
        if kind == APPLE_DOUBLE or not has_media():
            hint = "" if kind == APPLE_DOUBLE else f"{INSTALL_HINT} has it decoded, or "
            raise UsageError(f"stdin holds {kind}, not raw PCM; {hint}{_INSTEAD}")
        try:
            decoder = MediaDecoder(_Pipe(head, self._read_some))
        except SourceError as error:
            raise SourceError(f"cannot read stdin: it holds {kind}; {error}; {_SEEK}") from error
        has_heard = False
        with closing(decoder):
            try:
                for block in timed(decoder.stretches(), self.sample_rate_hz, self._channel):
                    has_heard = True
                    yield block
            except SourceError as error:
                hint = "" if has_heard else f"; {_SEEK}"
                raise SourceError(f"stdin holds {kind} and {error}{hint}") from error
        if not has_heard and not self._stopped.is_set():
            raise SourceError(f"stdin holds {kind}, in which there is no audio; {_SEEK}")

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


class _Pipe:
    """What a decoder reads that cannot go back."""

    def __init__(self, head: bytes, read_some: Callable[[], bytes]) -> None:
        """head: what was read already. read_some: more; nothing at the end."""
        self._waiting, self._read_some = head, read_some

    def read(self, n_bytes: int) -> bytes:
        """What is there, up to n_bytes: its buffer has no more room."""
        waiting = self._waiting or self._read_some()
        self._waiting = waiting[n_bytes:]
        return waiting[:n_bytes]
