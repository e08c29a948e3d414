"""What is asked of a history: events, newest first, counts over time, days."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol

import msgspec

from edge_audio.history.store import Start, Verdict
from edge_audio.sinks.records import in_minutes

MAX_LIMIT = 1000
MAX_LABELS = 40  # of a timeline; the most frequent
_COLUMNS = (
    "id, utc_offset_s, stream, label, score, time_s, heard_from_s, duration_s, is_sounding, "
    "verdict, told_label"
)


class Readable(Protocol):
    """A history to ask."""

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection for SELECT. Raises UsageError."""


@dataclass(frozen=True)
class HeardEvent(Start):
    """One sound, from its start to its end.

    duration_s: None while it sounds, and where nobody heard its end. verdict: what somebody said of
    it; told_label: what it was, with the verdict "other".
    """

    duration_s: float | None
    is_sounding: bool
    verdict: Verdict | None = None
    told_label: str | None = None

    @property
    def unix_s(self) -> float:
        return self.id / 1e6

    @property
    def at(self) -> datetime:
        """Its start by the clocks of the place."""
        return moment(self.unix_s, self.utc_offset_s)


@dataclass(frozen=True)
class Wanted:
    """Which events; None = whatever. text: somewhere in the label, in what it was told to be, or in
    the name of the stream."""

    from_unix_s: float | None = None
    to_unix_s: float | None = None
    stream: str | None = None
    label: str | None = None
    text: str | None = None

    def condition(self) -> tuple[str, list[object]]:
        """As SQL, with the values for its question marks."""
        parts: list[tuple[str, list[object]]] = [("1", [])]
        if self.from_unix_s is not None:
            parts.append(("id >= ?", [_id_at(self.from_unix_s)]))
        if self.to_unix_s is not None:
            parts.append(("id < ?", [_id_at(self.to_unix_s)]))
        for column in ("stream", "label"):
            if (value := getattr(self, column)) is not None:
                parts.append((f"{column} = ?", [value]))
        if self.text:
            like = "LIKE ? ESCAPE '\\'"
            any_of = f"(label {like} OR IFNULL(told_label, '') {like} OR stream {like})"
            parts.append((any_of, [f"%{_escaped(self.text)}%"] * 3))
        sql = " AND ".join(part for part, _ in parts)
        return sql, [value for _, values in parts for value in values]


def names_in(history: Readable, column: Literal["label", "stream"]) -> list[str]:
    """Those that events have, sorted. Raises UsageError."""
    select = f"SELECT DISTINCT {column} FROM events ORDER BY {column}"  # noqa: S608 - names of columns
    with history.reading() as connection:
        return [name for (name,) in connection.execute(select)]


class LabelCounts(msgspec.Struct):
    """Events of a label that began in each bucket."""

    label: str
    counts: list[int]


class Timeline(msgspec.Struct):
    """labels: the most frequent first, MAX_LABELS at most. level_dbfs: the loudest level of each
    bucket; None where nobody listened."""

    bucket_s: float
    labels: list[LabelCounts]
    n_more_labels: int
    level_dbfs: list[float | None]


class DayCount(msgspec.Struct):
    """day: by the clocks of the place."""

    day: str
    n_events: int


def moment(unix_s: float, utc_offset_s: int) -> datetime:
    """A time of day in a zone of whole minutes."""
    return in_minutes(datetime.fromtimestamp(unix_s, timezone(timedelta(seconds=utc_offset_s))))


def events(
    history: Readable, wanted: Wanted, limit: int, before_id: int | None = None
) -> tuple[list[HeardEvent], int | None]:
    """The newest events that are wanted, of those with a lower id than before_id, and what to give
    as before_id for more; None where there are no more."""
    condition, values = wanted.condition()
    if before_id is not None:
        condition, values = f"{condition} AND id < ?", [*values, before_id]
    select = f"SELECT {_COLUMNS} FROM events WHERE {condition} ORDER BY id DESC LIMIT ?"  # noqa: S608 - names of columns
    with history.reading() as connection:
        found = [_event(row) for row in connection.execute(select, [*values, limit + 1])]
    next_before_id = found[limit - 1].id if len(found) > limit else None
    return found[:limit], next_before_id


def all_events(history: Readable, wanted: Wanted) -> Iterator[HeardEvent]:
    """The same, however many: no more than a page of them is in memory."""
    before_id: int | None = None
    while True:
        found, before_id = events(history, wanted, MAX_LIMIT, before_id)
        yield from found
        if before_id is None:
            return


def judged(history: Readable) -> list[HeardEvent]:
    """The newest events of which somebody said that they were wrong, or something else; MAX_LIMIT
    at most."""
    select = (
        f"SELECT {_COLUMNS} FROM events WHERE verdict IN ('wrong', 'other') "  # noqa: S608
        "ORDER BY id DESC LIMIT ?"
    )
    with history.reading() as connection:
        return [_event(row) for row in connection.execute(select, [MAX_LIMIT])]


def event(history: Readable, event_id: int) -> HeardEvent | None:
    """One event; None if there is none of that id."""
    select = f"SELECT {_COLUMNS} FROM events WHERE id = ?"  # noqa: S608
    with history.reading() as connection:
        row = connection.execute(select, (event_id,)).fetchone()
    return None if row is None else _event(row)


def timeline(
    history: Readable, from_unix_s: float, to_unix_s: float, n_buckets: int, wanted: Wanted
) -> Timeline:
    """Counts of events, and loudness, in n_buckets equal stretches of a time."""
    bucket_s = (to_unix_s - from_unix_s) / n_buckets
    wanted = replace(wanted, from_unix_s=from_unix_s, to_unix_s=to_unix_s)
    condition, values = wanted.condition()
    bucket = "CAST((id / 1e6 - ?) / ? AS INTEGER) AS bucket"
    select = (
        f"SELECT label, {bucket}, COUNT(*) FROM events "  # noqa: S608
        f"WHERE {condition} GROUP BY label, bucket"
    )
    counts: dict[str, list[int]] = {}
    with history.reading() as connection:
        for label, bucket, n in connection.execute(select, [from_unix_s, bucket_s, *values]):
            counts.setdefault(label, [0] * n_buckets)[min(bucket, n_buckets - 1)] += n
        levels = _levels(connection, from_unix_s, bucket_s, n_buckets, wanted.stream)
    ranked = [label for label, _ in Counter({x: sum(n) for x, n in counts.items()}).most_common()]
    shown = [LabelCounts(label, counts[label]) for label in ranked[:MAX_LABELS]]
    return Timeline(bucket_s, shown, len(ranked) - len(shown), levels)


def days(history: Readable) -> list[DayCount]:
    """Days with events, the newest first."""
    day = "DATE(id / 1000000 + utc_offset_s, 'unixepoch')"
    select = f"SELECT {day} AS day, COUNT(*) FROM events GROUP BY day ORDER BY day DESC"  # noqa: S608
    with history.reading() as connection:
        return [DayCount(*row) for row in connection.execute(select)]


def _levels(
    connection: sqlite3.Connection,
    from_unix_s: float,
    bucket_s: float,
    n_buckets: int,
    stream: str | None,
) -> list[float | None]:
    select = (
        "SELECT CAST((unix_s - ?) / ? AS INTEGER) AS bucket, MAX(level_dbfs) FROM levels WHERE "
        "unix_s >= ? AND unix_s < ? AND (? IS NULL OR stream = ?) GROUP BY bucket"
    )
    found: list[float | None] = [None] * n_buckets
    to_unix_s = from_unix_s + n_buckets * bucket_s
    values = (from_unix_s, bucket_s, from_unix_s, to_unix_s, stream, stream)
    for bucket, level_dbfs in connection.execute(select, values):
        found[min(bucket, n_buckets - 1)] = level_dbfs
    return found


def _event(row: tuple[object, ...]) -> HeardEvent:
    found = HeardEvent(*row)  # type: ignore[arg-type]
    return replace(found, is_sounding=bool(found.is_sounding))


def _id_at(unix_s: float) -> int:
    """Ids are as large as SQLite has numbers, whatever somebody asks for."""
    return round(max(-9e18, min(9e18, unix_s * 1e6)))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
