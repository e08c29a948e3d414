"""A live source that is opened again whenever it breaks: what a listener of months needs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Source
from edge_audio.support.arrays import FloatArray
from edge_audio.support.backoff import Backoff

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
STEADY_S = 10.0  # audio after which a source counts as well again
_SETTLING_S = 30.0  # after its opening; a burst comes within it, and a clock drifts little
_MAX_HEAD_START_S = 20.0  # what brings more at once is a file: it keeps no clock


@dataclass
class _Connection:
    """One opening of the source, in seconds of the monotonic clock, and where its audio begins.

    assumed_s: where it was taken to begin, when its first block came.
    began_s: where it did begin, as its first seconds show: the audio that came by a moment is of
        the time before that moment, so the block that came earliest tells.
    """

    opened_s: float
    assumed_s: float | None = None
    began_s: float = math.inf
    heard_s: float = 0.0
    last_s: float = 0.0

    def hear(self, block_s: float) -> None:
        """Takes note of a block that came now, its gap included."""
        self.last_s = time.monotonic()
        if self.last_s < self.opened_s + _SETTLING_S:
            self.began_s = min(self.began_s, self.last_s - self.heard_s - block_s)
        self.heard_s += block_s

    @property
    def ended_s(self) -> float:
        """Where its audio ended; while its clock cannot have drifted, without the delay of the
        block that came last."""
        has_settled = self.last_s >= self.opened_s + _SETTLING_S
        return self.last_s if has_settled else self.began_s + self.heard_s

    @property
    def head_start_s(self) -> float:
        """How much audio from before its opening it brought."""
        head_start_s = max(0.0, self.opened_s - self.began_s)
        return head_start_s if head_start_s <= _MAX_HEAD_START_S else 0.0

    @property
    def ahead_s(self) -> float:
        """By how much it began earlier than it was taken to."""
        if self.assumed_s is None or self.opened_s - self.began_s > _MAX_HEAD_START_S:
            return 0.0
        return self.assumed_s - self.began_s


class Reconnecting:
    """Opens a source, and again after each time that it broke off or could not be opened, with
    pauses that double from FIRST_WAIT_S to MAX_WAIT_S.

    Time goes on while it is away: the first block afterwards states the gap, by the monotonic
    clock. It lasts until the source was opened, not until its first block: a microphone records
    from its opening, and ffmpeg holds back what came since then until it knows the format, and
    delivers it in a burst. A server of radio also sends audio of some seconds before; the new
    source is taken to begin as early as the one before did, what it repeats of what was heard is
    left out, and the next gap makes up for where that was wrong, in either direction. So audio
    time does not run away from the clock, however often the source is opened.
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
        self.waits, self.max_burst_s = self._source.waits, self._source.max_burst_s
        self.n_restarts = 0
        self._is_open = False
        self._stopped = threading.Event()
        self._n_samples = 0  # since the start, lost ones included
        self._opened_s = time.monotonic()
        self._made_s = self._opened_s
        self._connection: _Connection | None = None  # the latest that brought audio
        self._n_repeated = 0  # samples to come that were heard before

    def __enter__(self) -> Reconnecting:
        """Opens the source if it can be opened now. Raises UsageError for one that cannot be
        meant, such as an unknown device."""
        try:
            self._source.__enter__()
            self._note_opening()
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
        connection, n_lost = None, 0
        for block in self._open_source().blocks():
            if connection is None:
                connection, n_lost = self._begin()
            connection.hear(block.n_frames / self.sample_rate_hz)
            n_lost += block.n_lost_samples
            samples = self._without_repeated(block.samples)
            if len(samples) > 0:
                self._n_samples += n_lost
                yield replace(block, samples=samples, time_s=self._heard_s, n_lost_samples=n_lost)
                self._n_samples += len(samples)
                n_lost = 0

    def _begin(self) -> tuple[_Connection, int]:
        """The connection whose first block came, and the samples that were missed before it."""
        before = self._connection
        now = self._connection = _Connection(self._opened_s)
        if before is None and self.n_restarts == 0:
            return now, 0
        begins_s = self._opened_s - (before.head_start_s if before else 0.0)
        missed_s = begins_s - (before.ended_s + before.ahead_s if before else self._made_s)
        now.assumed_s = begins_s
        n_missed = round(missed_s * self.sample_rate_hz) - self._n_repeated
        self._n_repeated = max(0, -n_missed)
        return now, max(0, n_missed)

    def _without_repeated(self, samples: FloatArray) -> FloatArray:
        """The samples that were not heard before the source broke off."""
        n_repeated = min(self._n_repeated, len(samples))
        self._n_repeated -= n_repeated
        return samples[n_repeated:]

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
            self._note_opening()
            if self._stopped.is_set():  # before it could be told
                source.stop()
            self._notice(f"{source.name} is open again")
        return self._source

    def _note_opening(self) -> None:
        self._is_open, self._opened_s = True, time.monotonic()

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._source.__exit__(None, None, None)
