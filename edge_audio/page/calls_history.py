"""Calls of the API on the history: events, their clips, and what somebody says of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from edge_audio.history import queries
from edge_audio.history.queries import MAX_LIMIT, DayCount, Timeline, Wanted
from edge_audio.history.store import Verdict
from edge_audio.history.tables import csv_pieces
from edge_audio.page.answers import EventPage, EventStatus, FeedbackWish, Refusal
from edge_audio.page.context import Context
from edge_audio.page.requests import body_of, number_of, query_of
from edge_audio.support.text import MAX_NAME_CHARS, check_name

MAX_BUCKETS = 2000


class TableQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which events, without a limit. text: in the label, in what it was said to be, or in the name
    of the stream."""

    from_unix_s: float | None = None
    to_unix_s: float | None = None
    stream: str | None = None
    label: str | None = None
    text: str | None = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.from_unix_s, self.to_unix_s, self.stream, self.label, self.text)


class EventQuery(TableQuery, forbid_unknown_fields=True):
    """A page of them, newest first. before_id: those before a page."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 200
    before_id: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class TimelineQuery(msgspec.Struct, forbid_unknown_fields=True):
    """n_buckets equal stretches of a time."""

    from_unix_s: float
    to_unix_s: float
    n_buckets: Annotated[int, Meta(ge=1, le=MAX_BUCKETS)] = 200
    stream: str | None = None
    label: str | None = None


class ClipQuery(msgspec.Struct, forbid_unknown_fields=True):
    """download=1: to be saved rather than played."""

    download: bool = False


async def events(context: Context, request: Request) -> EventPage:
    """A page of events, newest first."""
    query = query_of(request, EventQuery)
    return await context.in_thread(_events, context, query)


def _events(context: Context, query: EventQuery) -> EventPage:
    found, next_id = queries.events(context.history, query.wanted, query.limit, query.before_id)
    clips = context.clips
    has_clip = [clips is not None and clips.find(x.id, x.at) is not None for x in found]
    shown = [EventStatus.of(*pair) for pair in zip(found, has_clip, strict=True)]
    return EventPage(shown, next_id)


async def timeline(context: Context, request: Request) -> Timeline:
    """Counts of events and loudness over a time."""
    query = query_of(request, TimelineQuery)
    if not 0.0 < query.to_unix_s - query.from_unix_s < 1e10:
        raise Refusal(400, "to_unix_s must be later than from_unix_s")
    wanted = Wanted(stream=query.stream, label=query.label)
    times = (query.from_unix_s, query.to_unix_s, query.n_buckets)
    return await context.in_thread(queries.timeline, context.history, *times, wanted)


async def days(context: Context, request: Request) -> list[DayCount]:
    """Days with events."""
    return await context.in_thread(queries.days, context.history)


async def table(context: Context, request: Request) -> Response:
    """Events as CSV."""
    query = query_of(request, TableQuery)
    pieces = csv_pieces(queries.all_events(context.history, query.wanted))
    return StreamingResponse(
        _in_thread(context, pieces),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="events.csv"'},
    )


async def _in_thread(context: Context, pieces: Iterator[str]) -> AsyncIterator[str]:
    """Each piece is read when the one before has been sent: a slow reader costs no memory."""
    while (piece := await context.in_thread(next, pieces, None)) is not None:
        yield piece
        await asyncio.sleep(0)


async def clip(context: Context, request: Request) -> Response:
    """The sound of an event."""
    query, clips = query_of(request, ClipQuery), context.clips
    event = await context.in_thread(queries.event, context.history, number_of(request))
    path = None
    if event is not None and clips is not None:
        path = await context.in_thread(clips.find, event.id, event.at)
    if path is None:
        raise Refusal(404, "there is no clip of that event, or no more")
    kind = "attachment" if query.download else "inline"
    return FileResponse(
        path, media_type="audio/flac", filename=path.name, content_disposition_type=kind
    )


async def judge(context: Context, request: Request) -> None:
    """What somebody says of an event."""
    wanted, event_id = await body_of(request, FeedbackWish), number_of(request)
    told_label = None
    if wanted.verdict == "other":
        told_label = _checked_label(wanted.label)
    try:
        is_there = await context.in_thread(_judge, context, event_id, wanted.verdict, told_label)
    except sqlite3.Error as error:
        raise Refusal(503, f"it could not be kept: {error}") from error
    if not is_there:
        raise Refusal(404, "there is no such event")


def _judge(
    context: Context, event_id: int, verdict: Verdict | None, told_label: str | None
) -> bool:
    return context.history.judge(event_id, verdict, told_label)


def _checked_label(label: str | None) -> str:
    try:
        check_name(label or "", "label")
    except ValueError:
        limits = f"1 to {MAX_NAME_CHARS} characters without line breaks"
        raise Refusal(400, f"say what it was: a label of {limits}") from None
    return label or ""
