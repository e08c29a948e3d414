"""A bounded queue of audio that drops the oldest: what a listener that fell behind missed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar


class _Chunk(Protocol):
    """Audio of a known length."""

    @property
    def n_frames(self) -> int: ...


ChunkT = TypeVar("ChunkT", bound=_Chunk)


class Taken(NamedTuple, Generic[ChunkT]):
    """A chunk, and how many frames were dropped just before it."""

    chunk: ChunkT
    n_lost_frames: int


class AudioQueue(Generic[ChunkT]):
    """Passes chunks from one thread to another; it never grows, and `put` never waits.

    n_lost_frames: dropped so far, for want of room.
    """

    def __init__(
        self,
        capacity: int,
        size: Callable[[ChunkT], int] = lambda chunk: 1,
        changed: threading.Condition | None = None,
    ) -> None:
        """capacity: in chunks, or in what `size` says of them; one chunk is taken in any case.
        changed: is told of all that comes and goes; several queues may share it."""
        self.n_lost_frames = 0
        self._capacity, self._size = capacity, size
        self._used = 0
        self._chunks: deque[ChunkT] = deque()
        self._n_lost_before_head = 0
        self._changed = changed or threading.Condition()

    def __len__(self) -> int:
        """Chunks that wait."""
        return len(self._chunks)

    def has_room(self, chunk: ChunkT) -> bool:
        """Whether `put` would drop nothing."""
        return not self._chunks or self._used + self._size(chunk) <= self._capacity

    def put(self, chunk: ChunkT) -> None:
        """Where the queue is full, its oldest chunks make room."""
        with self._changed:
            while not self.has_room(chunk):
                n_frames = self._pop().n_frames
                self._n_lost_before_head += n_frames
                self.n_lost_frames += n_frames
            self._chunks.append(chunk)
            self._used += self._size(chunk)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Taken[ChunkT] | None:
        """The oldest chunk, or None if none came in time."""
        with self._changed:
            if not self._chunks and not self._changed.wait_for(lambda: self._chunks, timeout_s):
                return None
            taken = Taken(self._pop(), self._n_lost_before_head)
            self._n_lost_before_head = 0
            self._changed.notify_all()
            return taken

    def _pop(self) -> ChunkT:
        chunk = self._chunks.popleft()
        self._used -= self._size(chunk)
        return chunk
