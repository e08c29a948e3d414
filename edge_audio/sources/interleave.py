"""Several streams at once: each is awaited by a thread of its own, and one thread takes what they
bring in the order in which it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Generic

from edge_audio.sources.base import Block
from edge_audio.sources.queue import AudioQueue, ChunkT

MAX_WAITING_S = 4.0
_SETTLING_S = 60.0  # by which a source has shown whether it is live
_PATIENCE_S = 0.5
_CLOSE_LIMIT_S = 5.0  # what is told to stop does so within half a second


class Feed(Generic[ChunkT]):
    """The pieces of one stream on their way, from a thread that waits for them into a queue.

    Where the queue is full the thread waits, and so does what it reads from.

    error: what ended the pieces before their time; to be read once has_ended.
    """

    def __init__(
        self,
        pieces: Iterable[ChunkT],
        stop: Callable[[], None],
        capacity: int,
        size: Callable[[ChunkT], int] = lambda piece: 1,
    ) -> None:
        """stop: makes the pieces end soon, called from another thread than they are drawn in.
        capacity: what may wait, in pieces or in what `size` says of them."""
        self.error: Exception | None = None
        self.has_ended = False
        self._pieces, self._stop = pieces, stop
        self._queue: AudioQueue[ChunkT] = AudioQueue(capacity, size)
        self._thread: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        """Whether no thread draws pieces (any more)."""
        return self._thread is None or not self._thread.is_alive()

    def start(self, came: threading.Event) -> None:
        """Draws pieces from now on. came: is set for each, and at the end."""
        self._came = came
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def take(self) -> ChunkT | None:
        """The next piece, or None if there is none at the moment."""
        taken = self._queue.get(timeout_s=0.0)
        return None if taken is None else taken.chunk

    def close(self) -> None:
        """Nobody takes any more: stops the stream and waits for the thread, so that what it
        reads from may be closed."""
        self._stop()
        self._queue.close()
        if self._thread is not None:
            self._thread.join(_CLOSE_LIMIT_S)

    def _run(self) -> None:
        try:
            for piece in self._pieces:
                if not self._put(piece):
                    return
                self._came.set()
        except Exception as error:
            self.error = error
        finally:
            self.has_ended = True
            self._came.set()

    def _put(self, piece: ChunkT) -> bool:
        """Puts a piece into the queue. Returns whether more are wanted."""
        return self._queue.put_when_there_is_room(piece)


class LiveFeed(Feed[Block]):
    """Blocks of a source that waits for nobody: where the listener falls MAX_WAITING_S behind
    (and the source's longest burst), the oldest are lost, and the block after the gap says so.

    Unless it turns out to be a recording: of what is live nobody can send more than the time that
    has gone by and one burst. It waits, as files do.
    """

    def __init__(
        self,
        blocks: Iterable[Block],
        stop: Callable[[], None],
        sample_rate_hz: int,
        max_burst_s: float,
    ) -> None:
        """max_burst_s: see Source."""
        capacity_samples = round((MAX_WAITING_S + max_burst_s) * sample_rate_hz)
        super().__init__(blocks, stop, capacity_samples, _n_samples)
        self._rate_hz, self._max_burst_s = sample_rate_hz, max_burst_s
        self._heard_s, self._first_s = 0.0, 0.0
        self._waits = False

    def take(self) -> Block | None:
        taken = self._queue.get(timeout_s=0.0)
        if taken is None:
            return None
        block, n_lost = taken.chunk, taken.n_lost_frames
        return replace(block, n_lost_samples=block.n_lost_samples + n_lost) if n_lost else block

    def _put(self, piece: Block) -> bool:
        self._waits = self._waits or self._is_a_recording(piece)
        put = self._queue.put_when_there_is_room if self._waits else self._queue.put
        return put(piece)

    def _is_a_recording(self, piece: Block) -> bool:
        """Whether this block, the newest, comes too early for a live one."""
        now_s = time.monotonic()
        self._first_s = self._first_s or now_s
        self._heard_s += len(piece.samples) / self._rate_hz
        elapsed_s = now_s - self._first_s
        # Later a clock that is a little too fast would look the same; a microphone has no burst.
        could_tell = self._max_burst_s > 0.0 and elapsed_s < _SETTLING_S
        return could_tell and self._heard_s > self._max_burst_s + elapsed_s


def feed_blocks(
    blocks: Iterable[Block],
    sample_rate_hz: int,
    waits: bool,
    stop: Callable[[], None],
    max_burst_s: float = 0.0,
) -> Feed[Block]:
    """What a source may deliver ahead of its listener; waits, max_burst_s: see Source."""
    if not waits:
        return LiveFeed(blocks, stop, sample_rate_hz, max_burst_s)
    return Feed(blocks, stop, round(MAX_WAITING_S * sample_rate_hz), _n_samples)


def interleaved(
    feeds: Sequence[Feed[Any]],
    on_end: Callable[[int, Exception | None], None],
    look_around: Callable[[], None] = lambda: None,
) -> Generator[tuple[int, Any], None, None]:
    """(which feed, piece), one of each in turn where several wait. Tells on_end of each that ends,
    and of its error, while the others go on. look_around: called now and then while none brings
    anything. All threads have ended when this has, and when it is closed."""
    came = threading.Event()
    waiting = dict(enumerate(feeds))
    with ExitStack() as threads:
        for feed in feeds:
            threads.callback(feed.close)
            feed.start(came)
        while waiting:
            # A feed that has ended brings nothing more: asked before, so that its last piece is.
            ended = [i for i, feed in waiting.items() if feed.has_ended]
            taken = [(i, piece) for i, f in waiting.items() if (piece := f.take()) is not None]
            yield from taken
            for i in set(ended) - {i for i, _ in taken}:
                on_end(i, waiting.pop(i).error)
            if not taken and not ended:
                if not came.wait(_PATIENCE_S):
                    look_around()
                came.clear()


def _n_samples(block: Block) -> int:
    return len(block.samples)
