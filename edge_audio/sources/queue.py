"""A bounded queue of audio between two threads: where it is full, it drops its oldest or waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

ChunkT = TypeVar("ChunkT")


@dataclass(frozen=True)  # a NamedTuple cannot be generic before Python 3.11
class Taken(Generic[ChunkT]):
    """A chunk, and how many frames were dropped just before it."""

    chunk: ChunkT
    n_lost_frames: int


class AudioQueue(Generic[ChunkT]):
    """Passes chunks from one thread to another; it never grows beyond its capacity.

    n_lost_frames: dropped so far, for want of room.
    """

    def __init__(self, capacity: int, size: Callable[[ChunkT], int] = lambda chunk: 1) -> None:
        """capacity: in chunks, or in what `size` says of them; one chunk is taken in any case."""
        self.n_lost_frames = 0
        self._capacity, self._size = capacity, size
        self._used = 0
        self._chunks: deque[ChunkT] = deque()
        self._n_lost_before_head = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Chunks that wait."""
        return len(self._chunks)

    def put(self, chunk: ChunkT, wakes: bool = True) -> bool:
        """Never waits: where there is no room, the oldest chunks are dropped, and counted by their
        n_frames. wakes: who waits for a chunk; else it is found by whoever comes. Returns whether
        anybody will take it."""
        with self._changed:
            while not self._has_room(chunk):
                n_frames = _n_frames(self._pop())
                self._n_lost_before_head += n_frames
                self.n_lost_frames += n_frames
            return self._append(chunk, wakes)

    def put_when_there_is_room(self, chunk: ChunkT) -> bool:
        """Waits for room, and drops nothing. Returns whether anybody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room(chunk))
            return self._append(chunk)

    def get(self, timeout_s: float) -> Taken[ChunkT] | None:
        """The oldest chunk, or None if none came within the timeout or before it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._is_closed, timeout_s)
            if not self._chunks:
                return None
            taken = Taken(self._pop(), self._n_lost_before_head)
            self._n_lost_before_head = 0
            self._changed.notify_all()
            return taken

    def get_more(self, n: int, goes_with: Callable[[ChunkT], bool]) -> list[ChunkT]:
        """Up to n chunks that follow on the one that was taken last, without a loss between them
        and as far as they go with it. Never waits."""
        more: list[ChunkT] = []
        with self._changed:
            while len(more) < n and self._chunks and not self._n_lost_before_head:
                if not goes_with(self._chunks[0]):
                    break
                more.append(self._pop())
            if more:
                self._changed.notify_all()
        return more

    def close(self) -> None:
        """Ends the taking: a thread that waits for room or for a chunk waits no longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_room(self, chunk: ChunkT) -> bool:
        return not self._chunks or self._used + self._size(chunk) <= self._capacity

    def _append(self, chunk: ChunkT, wakes: bool = True) -> bool:
        if not self._is_closed:
            self._chunks.append(chunk)
            self._used += self._size(chunk)
            if wakes:
                self._changed.notify_all()
        return not self._is_closed

    def _pop(self) -> ChunkT:
        chunk = self._chunks.popleft()
        self._used -= self._size(chunk)
        return chunk


def _n_frames(chunk: Any) -> int:
    """How many frames are lost if a chunk is dropped."""
    return int(chunk.n_frames)
