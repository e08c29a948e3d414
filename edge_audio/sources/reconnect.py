"""A live source that is opened again whenever it breaks: what a listener of months needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Source, SourceStats

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
STEADY_S = 10.0  # audio after which a source counts as well again


class Reconnecting:
    """Opens a source, and again after each time that it broke off or could not be opened, with
    pauses that double from FIRST_WAIT_S to MAX_WAIT_S.

    Time goes on while it is away: the first block afterwards states the samples that were
    missed, by the monotonic clock.
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
        self._n_restarts = 0
        self._is_open = False
        self._before = SourceStats()  # what sources that are gone had lost

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

    @property
    def stats(self) -> SourceStats:
        now = self._source.stats if self._is_open else SourceStats()
        return SourceStats(
            self._before.n_overflows + now.n_overflows,
            self._before.n_dropped_samples + now.n_dropped_samples,
            self._n_restarts,
        )

    def blocks(self) -> Iterator[Block]:
        """Endless."""
        position = 0  # samples since the start, lost ones included
        last_s = time.monotonic()
        wait_s = FIRST_WAIT_S
        while True:
            started_at = position
            is_first = True
            try:
                for block in self._open_source().blocks():
                    n_dropped = block.n_dropped
                    if is_first and self._n_restarts:
                        n_dropped += self._n_missed(block, time.monotonic() - last_s)
                    position += n_dropped
                    time_s = position / self.sample_rate_hz
                    yield replace(block, time_s=time_s, n_dropped=n_dropped)
                    position += len(block.samples)
                    is_first, last_s = False, time.monotonic()
                reason = f"{self.name} ended"
            except (SourceError, UsageError) as error:
                reason = str(error)
            if position - started_at > STEADY_S * self.sample_rate_hz:
                wait_s = FIRST_WAIT_S
            self._close()
            self._notice(f"{reason}; trying again in {wait_s:g} s")
            time.sleep(wait_s)
            wait_s = min(2.0 * wait_s, MAX_WAIT_S)
            self._n_restarts += 1

    def _open_source(self) -> Source:
        if not self._is_open:
            self._source = self._make()
            self._source.__enter__()
            self._is_open = True
            self._notice(f"{self._source.name} is open again")
        return self._source

    def _n_missed(self, block: Block, silent_s: float) -> int:
        """Samples that passed while nobody heard, when this block comes after silent_s."""
        return max(0, round(silent_s * self.sample_rate_hz) - len(block.samples))

    def _close(self) -> None:
        if self._is_open:
            self._before = self.stats
            self._is_open = False
            self._source.__exit__(None, None, None)
