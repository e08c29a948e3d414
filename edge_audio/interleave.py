"""Several sources heard at once, in one thread: their blocks in the order in which they come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from edge_audio.blocks import Block

MAX_WAITING_S = 4.0
_PATIENCE_S = 0.5


class Feed:
    """One source's blocks on their way: what it may deliver ahead of the listener.

    live: the oldest audio is dropped where the listener falls MAX_WAITING_S behind; any other
        source waits.
    n_lost_samples: dropped so far.
    """

    def __init__(
        self, blocks: Iterable[Block], sample_rate_hz: int, live: bool, arrived: threading.Condition
    ) -> None:
        self.n_lost_samples = 0
        self.error: Exception | None = None
        self.has_ended = False
        self._blocks, self._live, self._arrived = blocks, live, arrived
        self._max_samples = round(MAX_WAITING_S * sample_rate_hz)
        self._waiting: deque[Block] = deque()
        self._n_samples = self._n_lost_before_head = 0
        self._is_wanted = True
        threading.Thread(target=self._run, name="source", daemon=True).start()

    def take(self) -> Block | None:
        """The next block, which states what was dropped before it; to be called with the
        condition held."""
        if not self._waiting:
            return None
        block = self._waiting.popleft()
        self._n_samples -= len(block.samples)
        n_lost, self._n_lost_before_head = self._n_lost_before_head, 0
        self._arrived.notify_all()  # a file may wait for room
        return replace(block, n_dropped=block.n_dropped + n_lost) if n_lost else block

    def is_ready(self) -> bool:
        """Whether there is a block to take, or none will ever come; with the condition held."""
        return bool(self._waiting) or self.has_ended

    def stop(self) -> None:
        """Nobody takes any more."""
        with self._arrived:
            self._is_wanted = False
            self._arrived.notify_all()

    def _run(self) -> None:
        try:
            for block in self._blocks:
                with self._arrived:
                    self._put(block)
                    if not self._is_wanted:
                        return
        except Exception as error:
            self.error = error
        finally:
            with self._arrived:
                self.has_ended = True
                self._arrived.notify_all()

    def _put(self, block: Block) -> None:
        while self._waiting and self._n_samples + len(block.samples) > self._max_samples:
            if not self._is_wanted:
                return
            if self._live:
                self._drop_oldest()
            else:
                self._arrived.wait()
        self._waiting.append(block)
        self._n_samples += len(block.samples)
        self._arrived.notify_all()

    def _drop_oldest(self) -> None:
        block = self._waiting.popleft()
        self._n_samples -= len(block.samples)
        self._n_lost_before_head += len(block.samples) + block.n_dropped
        self.n_lost_samples += len(block.samples)


def interleaved(
    sources: Sequence[tuple[Iterable[Block], int, bool]],
    on_end: Callable[[int, Exception | None], None],
    look_around: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Block]]:
    """(blocks, sample_rate_hz, live) of each source -> (which one, block), one of each in turn
    where several wait. Tells on_end of each source that ends, and of its error, while the
    others go on. look_around: called now and then while none delivers."""
    arrived = threading.Condition()
    feeds = {i: Feed(*source, arrived) for i, source in enumerate(sources)}
    try:
        while feeds:
            with arrived:
                arrived.wait_for(lambda: any(f.is_ready() for f in feeds.values()), _PATIENCE_S)
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
