"""Several sources heard at once, in one thread: their blocks in the order in which they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from edge_audio.sources.base import Block
from edge_audio.sources.queue import AudioQueue

MAX_WAITING_S = 4.0
_PATIENCE_S = 0.5


class _Waiting(NamedTuple):
    """A block on its way; n_frames: what is missed if it is dropped, its own gap included."""

    block: Block

    @property
    def n_frames(self) -> int:
        return len(self.block.samples) + self.block.n_dropped


class Feed:
    """One source's blocks on their way: what it may deliver ahead of the listener.

    live: the oldest audio is dropped where the listener falls MAX_WAITING_S behind; any other
        source waits.
    """

    def __init__(
        self, blocks: Iterable[Block], sample_rate_hz: int, live: bool, changed: threading.Condition
    ) -> None:
        self.error: Exception | None = None
        self.has_ended = False
        self._blocks, self._live, self._changed = blocks, live, changed
        self._queue: AudioQueue[_Waiting] = AudioQueue(
            capacity=round(MAX_WAITING_S * sample_rate_hz),
            size=lambda waiting: len(waiting.block.samples),
            changed=changed,
        )
        self._is_wanted = True
        threading.Thread(target=self._run, name="source", daemon=True).start()

    def take(self) -> Block | None:
        """The next block, which states what was dropped before it; None if there is none, and
        then without letting go of a condition that is held."""
        taken = self._queue.get(timeout_s=0.0) if self._queue else None
        if taken is None:
            return None
        block = taken.chunk.block
        return replace(block, n_dropped=block.n_dropped + taken.n_lost_frames)

    def is_ready(self) -> bool:
        """Whether there is a block to take, or none will ever come."""
        return bool(self._queue) or self.has_ended

    def stop(self) -> None:
        """Nobody takes any more."""
        with self._changed:
            self._is_wanted = False
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            for block in self._blocks:
                if not self._pass_on(_Waiting(block)):
                    return
        except Exception as error:
            self.error = error
        finally:
            with self._changed:
                self.has_ended = True
                self._changed.notify_all()

    def _pass_on(self, waiting: _Waiting) -> bool:
        """Whether anybody still wants more."""
        with self._changed:
            while self._is_wanted and not (self._live or self._queue.has_room(waiting)):
                self._changed.wait()
            self._queue.put(waiting)
            return self._is_wanted


def interleaved(
    sources: Sequence[tuple[Iterable[Block], int, bool]],
    on_end: Callable[[int, Exception | None], None],
    look_around: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Block]]:
    """(blocks, sample_rate_hz, live) of each source -> (which one, block), one of each in turn
    where several wait. Tells on_end of each source that ends, and of its error, while the
    others go on. look_around: called now and then while none delivers."""
    changed = threading.Condition()
    feeds = {i: Feed(*source, changed) for i, source in enumerate(sources)}
    try:
        while feeds:
            with changed:
                changed.wait_for(lambda: any(f.is_ready() for f in feeds.values()), _PATIENCE_S)
                taken = [(i, feed.take()) for i, feed in feeds.items()]
                ended = [i for i, block in taken if block is None and feeds[i].has_ended]
            if not ended and all(block is None for _, block in taken):
                look_around()
            yield from ((i, block) for i, block in taken if block is not None)
            for i in ended:
                on_end(i, feeds.pop(i).error)
    finally:
        for feed in feeds.values():
            feed.stop()
