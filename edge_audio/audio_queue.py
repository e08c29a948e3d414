"""A bounded queue of audio that drops the oldest: what a listener that fell behind missed."""

from __future__ import annotations

import threading
from collections import deque
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

    def __init__(self, capacity: int) -> None:
        """capacity: in chunks, at least 1."""
        self.n_lost_frames = 0
        self._capacity = capacity
        self._chunks: deque[ChunkT] = deque()
        self._n_lost_before_head = 0
        self._arrived = threading.Condition()

    def put(self, chunk: ChunkT) -> None:
        """Where the queue is full, its oldest chunk makes room."""
        with self._arrived:
            if len(self._chunks) >= self._capacity:
                n_frames = self._chunks.popleft().n_frames
                self._n_lost_before_head += n_frames
                self.n_lost_frames += n_frames
            self._chunks.append(chunk)
            self._arrived.notify()

    def get(self, timeout_s: float) -> Taken[ChunkT] | None:
        """The oldest chunk, or None if none came in time."""
        with self._arrived:
            if not self._chunks and not self._arrived.wait_for(lambda: self._chunks, timeout_s):
                return None
            taken = Taken(self._chunks.popleft(), self._n_lost_before_head)
            self._n_lost_before_head = 0
            return taken
