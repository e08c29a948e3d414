"""From what a run tells its sinks to rows of a history."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from edge_audio.events.detector import Event
from edge_audio.history.store import History, Level, Start
from edge_audio.sinks.base import Sink
from edge_audio.sinks.level import LevelClock, MeanLevel
from edge_audio.sinks.worker import Worker
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Sounding, Stream
from edge_audio.support.arrays import FloatArray

_TIDY_EVERY_S = 600.0
_TIDY_EVERY_WRITES = 500


class HistoryRecorder:
    """Writes a history by a thread.

    keep_s, max_bytes: how much is kept, see `History.tidy`. level_every_s: seconds between two
    levels, 0 = never.
    """

    def __init__(
        self, history: History, keep_s: float, max_bytes: float, level_every_s: float
    ) -> None:
        self.history = history
        self._sinks: list[_HistorySink] = []
        self._problem = ""
        self._n_writes = 0
        self._worker: Worker[Callable[[], object]] = Worker("history", self._write)
        self.use(keep_s, max_bytes, level_every_s)
        self._worker.put(history.forget_sounding)

    def use(self, keep_s: float, max_bytes: float, level_every_s: float) -> None:
        """Goes on by other settings."""
        self._limits, self._level_every_s, self._tidy_s = (keep_s, max_bytes), level_every_s, 0.0
        for sink in self._sinks:
            sink.level_clock.every_s = level_every_s

    @property
    def n_lost(self) -> int:
        """Starts, ends and levels that were not written."""
        return self._worker.n_lost

    @property
    def problem(self) -> str:
        """One line on what is wrong at the moment; "" if nothing is."""
        return self._worker.with_losses(self._problem)

    def open(self, stream: Stream) -> Sink:
        """A sink for one stream."""
        sink = _HistorySink(stream, self._level_every_s, self._worker, self.history)
        self._sinks.append(sink)
        return sink

    def close(self) -> bool:
        """Writes what waits; whether all of it could be written within seconds."""
        if not self._worker.close():
            return False
        self.history.close()
        return True

    def _write(self, write: Callable[[], object]) -> None:
        try:
            write()
            self._tidy_sometimes()
        except sqlite3.Error as error:
            self._problem = f"cannot write: {error}"
            raise
        self._problem = ""

    def _tidy_sometimes(self) -> None:
        self._n_writes += 1
        if time.monotonic() < self._tidy_s and self._n_writes % _TIDY_EVERY_WRITES:
            return
        self._tidy_s = time.monotonic() + _TIDY_EVERY_S
        self.history.tidy(*self._limits)


class _HistorySink(Sink):
    def __init__(
        self,
        stream: Stream,
        level_every_s: float,
        worker: Worker[Callable[[], object]],
        history: History,
    ) -> None:
        self._stream, self._worker, self._history = stream, worker, history
        self._heard_from_s = None if stream.live else time.time()
        self.level_clock, self._level = LevelClock(level_every_s), MeanLevel()

    def on_audio(self, block: Block) -> None:
        self._level.add(block.samples)

    def on_event(self, event: Event) -> None:
        if (sounding := self._stream.sounding.get(event.label)) is None:
            return  # of a program that tells sinks by itself
        start = self._start(sounding, event)
        if event.kind == "start":
            self._worker.put(partial(self._history.begin, start))
        else:
            self._worker.put(partial(self._history.end, start, event.time_s - sounding.start_s))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._stream.has_audio and self.level_clock.is_due(time_s):
            self._tell_level(time_s)

    def close(self) -> None:
        if (time_s := self.level_clock.rest_s) is not None:
            self._tell_level(time_s)

    def _tell_level(self, time_s: float) -> None:
        at, level_dbfs = self._moment(time_s), self._level.take()
        when, heard_from_s = (at.timestamp(), _offset_s(at)), self._heard_from_s
        row = Level(*when, self._stream.name, time_s, level_dbfs, heard_from_s)
        self._worker.put(partial(self._history.hear, row))

    def _start(self, sounding: Sounding, event: Event) -> Start:
        offset_s, name = _offset_s(self._moment(sounding.start_s)), self._stream.name
        what = (event.label, event.score, sounding.start_s, self._heard_from_s)
        return Start(sounding.id, offset_s, name, *what)

    def _moment(self, time_s: float) -> datetime:
        """Time of day; of recordings that of the hearing."""
        return self._stream.stats.heard_at(time_s)


def _offset_s(at: datetime) -> int:
    return round((at.utcoffset() or timedelta(0)).total_seconds())
