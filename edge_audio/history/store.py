"""One history that is open: what is written into it, and how much of it is kept."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_audio.errors import UsageError
from edge_audio.history.schema import open_in_memory, open_to_write, opened_to_read
from edge_audio.support.age_clock import AgeClock
from edge_audio.support.plain_files import is_still
from edge_audio.support.text import encodable

Verdict = Literal["right", "wrong", "other"]
_TABLES = ("events", "levels")
_SHARE_PER_ROUND = 0.05  # of the rows, deleted at once where a history is too large


@dataclass(frozen=True)
class Start:
    """An event that began. id: microseconds since 1970, about, see Stream.new_event_id. time_s:
    audio since the run began. heard_from_s: of a recording when its hearing began, since 1970;
    None of what has a time of day."""

    id: int
    utc_offset_s: int
    stream: str
    label: str
    score: float
    time_s: float
    heard_from_s: float | None


@dataclass(frozen=True)
class Level:
    """The loudness of the audio before unix_s. heard_from_s: as of a `Start`."""

    unix_s: float
    utc_offset_s: int
    stream: str
    time_s: float
    level_dbfs: float
    heard_from_s: float | None = None


class HistoryFile:
    """A history that others write, or that nobody writes any more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection for SELECT. Raises UsageError."""
        return opened_to_read(self._path)


class History:
    """Written by one thread at a time, and read by any. Writing raises sqlite3.Error, and nothing
    of what was to be written is left then."""

    def __init__(self, path: Path | None) -> None:
        """path: None = in memory. Events that were never told to have ended, as kill -9 leaves
        them, sound no more. Raises UsageError."""
        self.path = path
        self._lock, self._clock = threading.RLock(), AgeClock()
        self._open()

    def _open(self) -> None:
        self._connection = open_in_memory() if self.path is None else open_to_write(self.path)
        self._opened = self.path.stat() if self.path else None

    def close(self) -> None:
        """To be called when nobody writes any more."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for SELECT. Raises UsageError."""
        if self.path is not None:
            with opened_to_read(self.path) as connection:
                yield connection
            return
        with self._lock:
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._follow()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _follow(self) -> None:
        """Goes on in a new file where others have moved the old one away, or deleted it."""
        if self.path is None or (self._opened and is_still(self._opened, self.path)):
            return
        if self._opened:
            with suppress(sqlite3.Error):  # which close() leaves out for a file that is elsewhere
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()  # first: what lies beside either file has the same names
            self._opened = None
        try:
            self._open()
        except (UsageError, OSError) as error:  # not for long, where somebody is moving files
            raise sqlite3.OperationalError(str(error)) from error

    def forget_sounding(self) -> None:
        """What still sounds by an earlier run does so no more; nobody knows how long it did."""
        with self._writing() as connection:
            connection.execute("UPDATE events SET is_sounding = 0 WHERE is_sounding")

    def begin(self, start: Start) -> None:
        """A sound began."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO events(id, utc_offset_s, stream, label, score, time_s, "
                "heard_from_s, is_sounding) VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                _row(start),
            )

    def end(self, start: Start, duration_s: float) -> None:
        """A sound ended. start: as it would be told now, with the highest score; of one whose
        start could not be written a row is made."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO events(id, utc_offset_s, stream, label, score, time_s, "
                "heard_from_s, duration_s, is_sounding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0) "
                "ON CONFLICT(id) DO UPDATE SET "
                "duration_s = excluded.duration_s, score = MAX(score, excluded.score), "
                "is_sounding = 0",
                (*_row(start), round(duration_s, 3)),
            )

    def hear(self, level: Level) -> None:
        """How loud it was."""
        with self._writing() as connection:
            when = (level.unix_s, level.utc_offset_s, level.time_s, level.heard_from_s)
            connection.execute(
                "INSERT OR REPLACE INTO levels(unix_s, utc_offset_s, time_s, heard_from_s, stream, "
                "level_dbfs) VALUES (?, ?, ?, ?, ?, ?)",
                (*when, encodable(level.stream), round(level.level_dbfs, 1)),
            )

    def judge(self, event_id: int, verdict: Verdict | None, told_label: str | None) -> bool:
        """What somebody says of an event; None takes it back. Whether there is such an event."""
        with self._writing() as connection:
            done = connection.execute(
                "UPDATE events SET verdict = ?, told_label = ? WHERE id = ?",
                (verdict, told_label, event_id),
            )
            return done.rowcount == 1

    # How much is kept

    def tidy(self, keep_s: float, max_bytes: float) -> None:
        """Deletes what is older than keep_s (0 = nothing) by a clock that has not just leapt
        ahead, and the oldest until the file is no larger than max_bytes."""
        now_s = self._clock.unix_s()
        if keep_s:
            self._delete_before(now_s - keep_s)
        while self.n_bytes > max_bytes and (end_s := self._end_of_oldest()) is not None:
            self._delete_before(end_s)
        with self._lock:
            self._connection.executescript("PRAGMA incremental_vacuum")  # execute frees one page

    @property
    def n_bytes(self) -> int:
        """Of all that is kept, without room that is free again."""
        with self._lock:
            names = ("page_count", "freelist_count", "page_size")
            pragmas = (self._connection.execute(f"PRAGMA {name}") for name in names)
            n_pages, n_free, n_bytes = (pragma.fetchone()[0] for pragma in pragmas)
            return int((n_pages - n_free) * n_bytes)

    def _end_of_oldest(self) -> float | None:
        """Until when the oldest rows are that may go at once; None where there is nothing. Of rows
        and not of time: a clock that was once in another century would take all others along."""
        with self._lock:
            count = "SELECT COUNT(*) FROM {}".format
            n_events, n_levels = (
                self._connection.execute(count(table)).fetchone()[0] for table in _TABLES
            )
            oldest = "SELECT id / 1e6 FROM events ORDER BY id LIMIT 1 OFFSET ?"
            if n_levels > n_events:
                oldest = "SELECT unix_s FROM levels ORDER BY unix_s LIMIT 1 OFFSET ?"
            n_before = int(_SHARE_PER_ROUND * max(n_events, n_levels))
            row = self._connection.execute(oldest, (n_before,)).fetchone()
        return None if row is None else float(row[0]) * (1.0 + 1e-15)  # whatever ids are rounded to

    def _delete_before(self, unix_s: float) -> None:
        with self._writing() as connection:
            connection.execute("DELETE FROM events WHERE id <= ?", (round(unix_s * 1e6),))
            connection.execute("DELETE FROM levels WHERE unix_s <= ?", (unix_s,))


def _row(start: Start) -> tuple[object, ...]:
    stream, label = encodable(start.stream), encodable(start.label)
    score, time_s = round(start.score, 4), round(start.time_s, 3)
    return (start.id, start.utc_offset_s, stream, label, score, time_s, start.heard_from_s)
