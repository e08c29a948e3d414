"""How a listening run is stopped, told to read its settings again, and cut to a length."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


class StopSignals:
    """Makes Ctrl-C and SIGTERM end an iteration between two items.

    While the next item is awaited (which may take forever on a pipe) a signal interrupts the
    wait; while one is processed it only takes note, so that no line of output is cut in half. A
    second signal interrupts anything.
    """

    def __init__(self, reloadable: bool = False) -> None:
        """reloadable: SIGHUP is taken note of as well, for `take_reload`."""
        self._stopped = False
        self._waiting = False
        self._reload = False
        self._handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop}
        if reloadable:
            self._handlers[signal.SIGHUP] = self._note_reload

    def __enter__(self) -> StopSignals:
        self._previous = {kind: signal.signal(kind, do) for kind, do in self._handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)

    def until_stopped(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items up to the first signal."""
        iterator = iter(items)
        try:
            while not self._stopped:
                self._waiting = True
                item = next(iterator)
                self._waiting = False
                yield item
        except (StopIteration, KeyboardInterrupt):
            return
        finally:
            self._waiting = False

    def take_reload(self) -> bool:
        """Whether SIGHUP came since the last call."""
        wanted, self._reload = self._reload, False
        return wanted

    def _stop(self, signal_number: int, frame: FrameType | None) -> None:
        if self._stopped or self._waiting:
            raise KeyboardInterrupt
        self._stopped = True

    def _note_reload(self, signal_number: int, frame: FrameType | None) -> None:
        self._reload = True
