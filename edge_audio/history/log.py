"""A history as the records of a log, for what reads logs."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_audio.errors import UsageError
from edge_audio.history.queries import moment
from edge_audio.history.schema import is_history, opened_to_read
from edge_audio.sinks.log_reader import LogRecord, SessionLog

_Timed = tuple[float, float, int, LogRecord]  # which run, when, and in which order at one time


def _select(fields: str, table: str, unix_s: str, time_s: str) -> str:
    """What is of this moment comes first, by time of day; then every recording, by audio time: how
    fast it was heard says nothing."""
    place_s = f"CASE WHEN heard_from_s IS NULL THEN {unix_s} ELSE {time_s} END AS place_s"
    return (
        f"SELECT IFNULL(heard_from_s, 0.0) AS run, {place_s}, {time_s}, utc_offset_s, stream, "  # noqa: S608 - names of columns
        f"{fields} FROM {table} ORDER BY run, place_s"
    )


_EVENT = "label, score, verdict"
_STARTS = _select(_EVENT, "events", "id / 1e6", "time_s")
_ENDED = "(SELECT * FROM events WHERE duration_s IS NOT NULL)"
_ENDS = _select(_EVENT, _ENDED, "id / 1e6 + duration_s", "time_s + duration_s")
_LEVELS = _select("level_dbfs", "levels", "unix_s", "time_s")
_CORRECT = {"right": True, "wrong": False, "other": False}


class HistoryLog:
    """The records of histories in the order of time, as `SessionLog` has those of a log; those of
    recordings have no time of day, and come last.

    n_records: read so far. n_bad, problems: for the sake of the likeness; there are none.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.n_records = self.n_bad = 0
        self.problems: list[str] = []
        self._paths = paths

    def __iter__(self) -> Iterator[LogRecord]:
        """Raises UsageError for what is no history."""
        self.n_records = 0
        with ExitStack() as opened:
            connections = [opened.enter_context(opened_to_read(path)) for path in self._paths]
            parts = [part for each in connections for part in _parts(each)]
            for *_, record in heapq.merge(*parts, key=lambda timed: timed[:3]):
                self.n_records += 1
                yield record

    def check(self) -> None:
        """What is no history was refused before."""


def open_log(paths: Sequence[Path]) -> SessionLog | HistoryLog:
    """The records in files of JSON lines, or in histories. Raises UsageError for both at once, and
    as `SessionLog`."""
    histories = [path for path in paths if is_history(path)]
    if not histories:
        return SessionLog(paths)
    if len(histories) < len(paths):
        raise UsageError("histories and JSON lines tell of the same events: name one kind of them")
    return HistoryLog(list(dict.fromkeys(paths)))


def _parts(connection: sqlite3.Connection) -> list[Iterator[_Timed]]:
    """Ends before starts of the same moment: a label may begin anew."""
    return [
        (_event(row, "end", 0) for row in connection.execute(_ENDS)),
        (_event(row, "start", 1) for row in connection.execute(_STARTS)),
        (_level(row) for row in connection.execute(_LEVELS)),
    ]


def _event(row: tuple[Any, ...], kind: str, n: int) -> _Timed:
    *when, stream, label, score, verdict = row
    correct = _CORRECT.get(verdict or "")
    return _timed(when, n, kind=kind, stream=stream, label=label, score=score, correct=correct)


def _level(row: tuple[Any, ...]) -> _Timed:
    *when, stream, level_dbfs = row
    return _timed(when, 2, kind="level", stream=stream, level_dbfs=level_dbfs)


def _timed(when: Sequence[Any], n: int, **fields: Any) -> _Timed:
    run, place_s, time_s, utc_offset_s = when
    at = None if run else moment(place_s, utc_offset_s)
    return run, place_s, n, LogRecord(time_s, at=at, run=run, **fields)
