"""How a listening run is stopped, told to read its settings again, and cut to a length."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


class EarlyReload:
    """Takes note of SIGHUP, which would end the process, before a `StopSignals` is there to do so,
    and when it is gone. A handler, for programs that are started meanwhile inherit what is ignored.
    """

    def __init__(self) -> None:
        self.came = False

    @classmethod
    def watch(cls) -> None:
        """From now on, to the end of the process."""
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, cls())

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        self.came = True


class StopSignals:
    """Makes Ctrl-C and SIGTERM end an iteration between two items.

    Before the first item, while all is opened, a signal interrupts: SIGTERM ends the process in
    order (SystemExit), and Ctrl-C raises KeyboardInterrupt. While the next item is awaited, which
    may take forever on a pipe, a signal interrupts the wait; while one is processed it only takes
    note, so that no line of output is cut in half. A second signal interrupts anything, unless
    they are held.
    """

    def __init__(self, reloadable: bool = False) -> None:
        """reloadable: SIGHUP is taken note of as well, for `take_reload`. Otherwise, as of a
        terminal that is closed, it ends the iteration too, unless it is ignored (nohup)."""
        self._reloadable = reloadable
        self._is_opening = True
        self._is_held = False
        self._stopped = False
        self._waiting = False
        self._reload = False
        self._handlers = {signal.SIGINT: self._stop, signal.SIGTERM: self._stop}
        if hasattr(signal, "SIGHUP"):
            self._handlers[signal.SIGHUP] = self._note_reload if reloadable else self._stop

    def __enter__(self) -> StopSignals:
        hang_up = getattr(signal, "SIGHUP", None)  # which Windows has not
        if hang_up and not self._reloadable and signal.getsignal(hang_up) == signal.SIG_IGN:
            del self._handlers[hang_up]
        self._previous = {kind: signal.signal(kind, do) for kind, do in self._handlers.items()}
        early = self._previous.get(hang_up) if hang_up else None
        self._reload = isinstance(early, EarlyReload) and early.came
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)

    def hold(self) -> None:
        """No signal interrupts anything until `release`: what still waits is to be delivered, or
        counted as lost, and that takes seconds at most."""
        self._is_held = True

    def release(self) -> None:
        """A signal interrupts anything: nothing can be lost any more."""
        self._is_held, self._is_opening = False, True

    def until_stopped(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items up to the first signal."""
        iterator = iter(items)
        self._is_opening = False
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
        if self._is_held:
            return
        if self._is_opening and signal_number != signal.SIGINT:
            raise SystemExit(0)
        if self._is_opening or self._stopped or self._waiting:
            raise KeyboardInterrupt
        self._stopped = True

    def _note_reload(self, signal_number: int, frame: FrameType | None) -> None:
        self._reload = True
