"""One thread at a time, and nobody once it is closed."""

from __future__ import annotations

import threading

from edge_audio.errors import UsageError


class Turns:
    """Guards an object that follows one stream: `with turns: ...` around all that changes it.

    A second thread is refused rather than kept waiting, since samples that take turns would be
    mixed up all the same. Raises UsageError then, and after `close`.
    """

    def __init__(self, name: str, busy_cure: str, closed_cure: str) -> None:
        """name: of the object, in messages. Cures: what to do instead."""
        self._busy = f"this {name} is in use by another thread: {busy_cure}"
        self._closed = f"this {name} is closed: {closed_cure}"
        self._lock = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise UsageError(self._busy)
        if self._is_closed:
            self._lock.release()
            raise UsageError(self._closed)

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self) -> None:
        """From now on nobody has a turn. May be called again."""
        if not self._is_closed:
            with self:
                self._is_closed = True
