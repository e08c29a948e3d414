"""A history as the records of a log, for what reads logs."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from edge_audio.errors import UsageError
from edge_audio.history.queries import moment
from edge_audio.history.schema import is_history, opened_to_read
from edge_audio.sinks.log_reader import LogRecord, SessionLog

_Timed = tuple[float, int, LogRecord]  # when, and in which order at one time
_STARTS = (
    "SELECT id / 1e6 AS unix_s, utc_offset_s, stream, label, score, time_s, verdict FROM events "
    "ORDER BY id"
)
_ENDS = (
    "SELECT id / 1e6 + duration_s AS unix_s, utc_offset_s, stream, label, score, "
    "time_s + duration_s, verdict FROM events WHERE duration_s IS NOT NULL ORDER BY unix_s"
)
_LEVELS = "SELECT unix_s, utc_offset_s, stream, level_dbfs, time_s FROM levels ORDER BY unix_s"
_CORRECT = {"right": True, "wrong": False, "other": False}


class HistoryLog:
    """The records of histories in the order of time, as `SessionLog` has those of a log.

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
            for _, _, record in heapq.merge(*parts, key=lambda timed: timed[:2]):
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


def _event(row: tuple[float, int, str, str, float, float, str | None], kind: str, n: int) -> _Timed:
    unix_s, utc_offset_s, stream, label, score, time_s, verdict = row
    at, correct = moment(unix_s, utc_offset_s), _CORRECT.get(verdict or "")
    record = LogRecord(time_s, kind, at, stream, label, score, correct=correct)
    return unix_s, n, record


def _level(row: tuple[float, int, str, float, float]) -> _Timed:
    unix_s, utc_offset_s, stream, level_dbfs, time_s = row
    at = moment(unix_s, utc_offset_s)
    return unix_s, 2, LogRecord(time_s, "level", at, stream, level_dbfs=level_dbfs)
