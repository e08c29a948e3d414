"""A thread behind a bounded queue, so that a slow or dead destination never blocks listening."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Hands items to `handle` one after the other, in a thread of its own.

    n_lost: items that `handle` raised an exception for, and those that found no room, of which the
        oldest went.
    """

    def __init__(self, name: str, handle: Callable[[Item], object], capacity: int = 1000) -> None:
        """name: of the thread. handle: may wait as long as it likes; whatever it raises is
        counted, and the item is gone."""
        self.n_lost = 0
        self._handle = handle
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._is_busy = self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    def with_losses(self, problem: str) -> str:
        """A problem, and what it has cost so far; "" if there is none."""
        return f"{problem}; {self.n_lost} records lost" if problem else ""

    def put(self, item: Item) -> None:
        """Never waits. Where the queue is full, its oldest item is dropped and counted."""
        with self._changed:
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.n_lost += 1
            self._items.append(item)
            self._changed.notify()

    def close(self, timeout_s: float = 3.0) -> bool:
        """Lets the thread finish what waits, for timeout_s at most; what is left then is dropped
        and counted. Returns whether nothing was."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            n_left = len(self._items) + self._is_busy
            self.n_lost += len(self._items)
            self._items.clear()
        return n_left == 0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                while not self._items:
                    if self._is_closing:
                        return
                    self._changed.wait()
                item = self._items.popleft()
                self._is_busy = True
            try:
                self._handle(item)
            except Exception:
                with self._changed:
                    self.n_lost += 1
