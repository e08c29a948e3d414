"""From the thread that listens to browsers that look on, each as quick as it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

MAX_READERS = 250
MAX_WAITING = 128  # messages of one reader: some three seconds of three streams
_MAX_HANDED = 2000  # calls that the thread of the page has not come to yet


class Message(NamedTuple):
    """As server-sent events have it; the same bytes for all readers."""

    kind: str
    data: bytes

    @property
    def wire(self) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (self.kind.encode(), self.data)


class Reader:
    """One browser that looks on. What it has no room for is lost, the oldest first, and counted."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._n_lost = 0
        self._has_some = asyncio.Event()

    def put(self, wire: bytes) -> None:
        """Never waits."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._n_lost += 1
        self._waiting.append(wire)
        self._has_some.set()

    def wake(self) -> None:
        """Ends the waiting."""
        self._has_some.set()

    async def take(self, timeout_s: float) -> bytes:
        """All that waits, as one piece; b"" if nothing came within timeout_s."""
        try:
            await asyncio.wait_for(self._has_some.wait(), timeout_s)
        except asyncio.TimeoutError:
            return b""
        self._has_some.clear()
        pieces = [*self._waiting]
        self._waiting.clear()
        if self._n_lost:
            lost = Message("lost", msgspec.json.encode({"n": self._n_lost}))
            pieces.insert(0, lost.wire)
            self._n_lost = 0
        return b"".join(pieces)


class Hub:
    """Where the thread that listens hands over what it has, and never waits: where the page does
    not come to it, it is lost."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque(maxlen=_MAX_HANDED)
        self._is_woken = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers: set[Reader] = set()
        self.is_closed = False

    # Called from any thread

    def close(self) -> None:
        """Readers are let go."""
        self.is_closed = True
        self.hand(self._wake)

    @property
    def has_readers(self) -> bool:
        return bool(self._readers)

    def hand(self, call: Callable[[], None]) -> None:
        """Has the thread of the page make a call soon."""
        self._calls.append(call)
        loop = self._loop
        if loop is None or self._is_woken:
            return
        self._is_woken = True
        try:
            loop.call_soon_threadsafe(self._make_calls)
        except RuntimeError:  # it has ended
            self._loop = None

    # Called from the thread of the page

    def use(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """The loop of the thread that calls are made in from now on."""
        self._loop, self._is_woken = loop, False

    @property
    def n_readers(self) -> int:
        return len(self._readers)

    def join(self) -> Reader | None:
        """A new reader; None where there are too many."""
        if len(self._readers) >= MAX_READERS:
            return None
        reader = Reader()
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    def tell(self, message: Message) -> None:
        """To all readers."""
        wire = message.wire
        for reader in self._readers:
            reader.put(wire)

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()

    def _make_calls(self) -> None:
        self._is_woken = False
        while self._calls:
            self._calls.popleft()()
