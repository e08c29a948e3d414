"""What leaves the process about events: JSON objects that say when and on which stream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from edge_audio.events.detector import Event
from edge_audio.sinks.base import scored
from edge_audio.sources.stream import Stream


def record(stream: Stream, time_s: float, **fields: object) -> dict[str, object]:
    """{"time_s", "at", "stream", **fields}; `at` is ISO 8601 with zone and milliseconds, and
    left out where there is no time of day."""
    return _dated(stream, time_s, stream.wall_time(time_s), fields)


def notice_record(stream: Stream, text: str) -> dict[str, object]:
    """A record of what happens now, however long nothing has been heard."""
    return _dated(stream, stream.stats.heard_s, stream.wall_now(), {"kind": "notice", "text": text})


def _dated(
    stream: Stream, time_s: float, at: datetime | None, fields: Mapping[str, object]
) -> dict[str, object]:
    day = {} if at is None else {"at": in_minutes(at).isoformat(timespec="milliseconds")}
    return {"time_s": round(time_s, 3), **day, "stream": stream.name, **fields}


def in_minutes(at: datetime) -> datetime:
    """The same moment in a zone of whole minutes, which is all that ISO 8601 can write: some places
    had others, and TZ may name any."""
    offset = at.utcoffset() or timedelta(0)
    if not offset % timedelta(minutes=1):
        return at
    return at.astimezone(timezone(timedelta(minutes=offset // timedelta(minutes=1))))


def event_record(stream: Stream, event: Event) -> dict[str, object]:
    """A record with `kind`, `label` and `score`."""
    fields = scored(event.label, event.score)
    return record(stream, event.time_s, kind=event.kind, **fields)
