"""The tables of a history, and how a file of an older version gets those of this one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge_audio.errors import UsageError
from edge_audio.support.plain_files import open_plain, reason_of

APPLICATION_ID = 0x65617564  # tells a history from other people's databases
MAGIC = b"SQLite format 3\0"
_BUSY_S = 5.0

# What each version adds to the one before; PRAGMA user_version counts them. id: of an event, see
# Stream.new_event_id. utc_offset_s: of the clocks of the place. time_s: audio since the start of
# the run. duration_s: NULL while it sounds, and where nobody heard the end. heard_from_s: of
# recordings when the hearing of this one began, since 1970; NULL of what has a time of day.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE events(id INTEGER PRIMARY KEY, utc_offset_s INTEGER NOT NULL, "
        "stream TEXT NOT NULL, label TEXT NOT NULL, score REAL NOT NULL, time_s REAL NOT NULL, "
        "duration_s REAL, is_sounding INTEGER NOT NULL)",
        "CREATE INDEX events_by_label ON events(label, id)",
        "CREATE TABLE levels(unix_s REAL NOT NULL, stream TEXT NOT NULL, "
        "utc_offset_s INTEGER NOT NULL, time_s REAL NOT NULL, level_dbfs REAL NOT NULL, "
        "PRIMARY KEY(unix_s, stream)) WITHOUT ROWID",
    ),
    (  # what somebody says of an event: right, wrong or other, with the label that it was
        "ALTER TABLE events ADD COLUMN verdict TEXT",
        "ALTER TABLE events ADD COLUMN told_label TEXT",
    ),
    (
        "ALTER TABLE events ADD COLUMN heard_from_s REAL",
        "ALTER TABLE levels ADD COLUMN heard_from_s REAL",
    ),
)


def is_history(path: Path) -> bool:
    """Whether that is a file of SQLite. Raises nothing."""
    try:
        with open_plain(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False


def open_to_write(path: Path) -> sqlite3.Connection:
    """A history that is made, or brought to this version, where need be; for its owner alone.
    Raises UsageError for what is none."""
    with errors_for_people(path):
        _make(path)
        connection = _connected(str(path.absolute()))
        try:
            version = _checked_version(connection, path)
            if version == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is a table
            # What kill -9 leaves is whole, and a power cut costs the last seconds at most: of an
            # fsync for each event an SD card would die
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA journal_size_limit = 4000000")
            migrate(connection, version)
        except BaseException:
            connection.close()
            raise
    return connection


def open_in_memory() -> sqlite3.Connection:
    """A history that is gone with the process."""
    connection = _connected(":memory:")
    migrate(connection, 0)
    return connection


@contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """A history as it is now, which is not changed; one of an older version is read as if it were
    of this one. Raises UsageError."""
    with errors_for_people(path), closing(_read_only(path)) as connection:
        version = _checked_version(connection, path)
        if version == len(MIGRATIONS):
            yield connection
            return
        with closing(_connected(":memory:")) as copy:
            connection.backup(copy)
            migrate(copy, version)
            yield copy


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """From a version to this one, each step as a whole or not at all."""
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _connected(place: str, is_uri: bool = False) -> sqlite3.Connection:
    """isolation_level None: transactions begin where they are told to."""
    return sqlite3.connect(
        place, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=is_uri
    )


def _read_only(path: Path) -> sqlite3.Connection:
    """Where the folder cannot be written, as of a backup, the file alone is read."""
    address = path.absolute().as_uri()
    connection = _connected(f"{address}?mode=ro", is_uri=True)
    try:
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        connection = _connected(f"{address}?mode=ro&immutable=1", is_uri=True)
    return connection


def _make(path: Path) -> None:
    """An empty file, where there is none. Raises OSError for what is no file."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    os.close(os.open(path, flags, 0o600))
    open_plain(path).close()


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (n_tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if n_tables and owner != APPLICATION_ID:
        raise UsageError(f"{path} is a database of something else: name another file")
    if version > len(MIGRATIONS):
        hint = "update edge-audio, or name another file"
        raise UsageError(f"{path} was written by a newer version of edge-audio: {hint}")
    return int(version)


@contextmanager
def errors_for_people(path: Path) -> Iterator[None]:
    """Makes what befalls a history within the block a UsageError that names its file."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot keep a history in {path}: {reason_of(error)}") from error
    except sqlite3.OperationalError as error:
        raise UsageError(f"cannot open the history {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        hint = "move it away, or name another file"
        raise UsageError(f"{path} is no history, or damaged ({error}): {hint}") from error
