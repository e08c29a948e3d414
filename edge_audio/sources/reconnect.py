"""A live source that is opened again whenever it breaks: what a listener of months needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Source
from edge_audio.support.backoff import Backoff

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
STEADY_S = 10.0  # audio after which a source counts as well again


class Reconnecting:
    """Opens a source, and again after each time that it broke off or could not be opened, with
    pauses that double from FIRST_WAIT_S to MAX_WAIT_S.

    Time goes on while it is away: the first block afterwards states the gap, by the monotonic
    clock.
    """

    live = True

    def __init__(
        self,
        make: Callable[[], Source],
        notice: Callable[[str], None],
    ) -> None:
        """make: a new source, not yet open, always of one rate. notice: is told of each loss and
        return."""
        self._make, self._notice = make, notice
        self._source = make()
        self.name, self.sample_rate_hz = self._source.name, self._source.sample_rate_hz
        self.waits = self._source.waits
        self.n_restarts = 0
        self._is_open = False
        self._stopped = threading.Event()
        self._n_samples = 0  # since the start, lost ones included
        self._last_s = time.monotonic()  # when the latest block came

    def __enter__(self) -> Reconnecting:
        """Opens the source if it can be opened now. Raises UsageError for one that cannot be
        meant, such as an unknown device."""
        try:
            self._source.__enter__()
            self._is_open = True
        except SourceError as error:
            self._notice(f"{error}; trying again")
        self.name = self._source.name
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def stop(self) -> None:
        self._stopped.set()
        self._source.stop()

    def blocks(self) -> Iterator[Block]:
        """Blocks until `stop`."""
        backoff = Backoff(FIRST_WAIT_S, MAX_WAIT_S, STEADY_S)
        while not self._stopped.is_set():
            heard_from_s = self._heard_s
            try:
                yield from self._until_it_breaks()
                reason = f"{self.name} ended"
            except (SourceError, UsageError) as error:
                reason = str(error)
            if not self._stopped.is_set():
                backoff.worked_for(self._heard_s - heard_from_s)
                self._break_off(reason, backoff.next_s())

    def _until_it_breaks(self) -> Iterator[Block]:
        """The blocks of the source, opened again if need be, on the clock of all that came."""
        is_first = self.n_restarts > 0
        for block in self._open_source().blocks():
            n_lost = block.n_lost_samples
            if is_first:
                n_lost += self._n_missed(block, time.monotonic() - self._last_s)
            self._n_samples += n_lost
            yield replace(block, time_s=self._heard_s, n_lost_samples=n_lost)
            self._n_samples += len(block.samples)
            is_first, self._last_s = False, time.monotonic()

    @property
    def _heard_s(self) -> float:
        return self._n_samples / self.sample_rate_hz

    def _break_off(self, reason: str, wait_s: float) -> None:
        """Closes the source and waits, unless it is stopped meanwhile."""
        self._close()
        self._notice(f"{reason}; trying again in {wait_s:g} s")
        self._stopped.wait(wait_s)
        self.n_restarts += 1

    def _open_source(self) -> Source:
        if not self._is_open:
            source = self._make()
            source.__enter__()
            self._source = source
            self._is_open = True
            if self._stopped.is_set():  # before it could be told
                source.stop()
            self._notice(f"{source.name} is open again")
        return self._source

    def _n_missed(self, block: Block, silent_s: float) -> int:
        """Samples that passed while nobody heard, when this block comes after silent_s."""
        return max(0, round(silent_s * self.sample_rate_hz) - len(block.samples))

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._source.__exit__(None, None, None)
