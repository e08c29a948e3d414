"""All calls of the API in one table, the application made of it, and its description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from edge_audio.history.queries import DayCount, Timeline
from edge_audio.page import calls_history, calls_notify, calls_run, calls_sounds
from edge_audio.page.answers import (
    EventPage,
    FeedbackWish,
    LabelStatus,
    LabelWish,
    Login,
    RunWish,
    SessionStatus,
    Status,
)
from edge_audio.page.call import Call
from edge_audio.page.calls_history import ClipQuery, EventQuery, TableQuery, TimelineQuery
from edge_audio.page.calls_notify import NotifyStatus, NotifyWish, TestResult, TestWish, ToldWish
from edge_audio.page.calls_sounds import SoundsStatus, TeachWish
from edge_audio.page.context import Context
from edge_audio.page.guard import API, Guard
from edge_audio.page.openapi import description
from edge_audio.page.others import OtherListener
from edge_audio.page.requests import json_response

FLAC = "audio/flac"
STATIC = Path(__file__).with_name("static")
CALLS = (
    Call("GET", "status", "How the run is", calls_run.status, Status),
    Call("GET", "session", "Whether to log in first", calls_run.session, SessionStatus),
    Call("POST", "login", "Log in", calls_run.log_in, SessionStatus, takes=Login),
    Call("POST", "logout", "Log out", calls_run.log_out),
    Call("GET", "labels", "All labels", calls_run.labels, list[LabelStatus]),
    Call("GET", "labels/{label:path}", "One label", calls_run.label, LabelStatus),
    Call("PUT", "labels/{label:path}", "Change it", calls_run.change_label, takes=LabelWish),
    Call("POST", "run", "Pause, or another sensitivity", calls_run.change_run, takes=RunWish),
    Call("GET", "others", "Other listeners", calls_run.others, list[OtherListener]),
    Call("GET", "live", "What is heard", calls_run.live, media="text/event-stream"),
    Call("GET", "events", "Events", calls_history.events, EventPage, EventQuery),
    Call("GET", "events.csv", "A table", calls_history.table, query=TableQuery, media="text/csv"),
    Call("GET", "timeline", "Counts", calls_history.timeline, Timeline, TimelineQuery),
    Call("GET", "days", "Days with events", calls_history.days, list[DayCount]),
    Call("GET", "events/{id}/clip", "Sound", calls_history.clip, query=ClipQuery, media=FLAC),
    Call("PUT", "events/{id}/feedback", "Judge it", calls_history.judge, takes=FeedbackWish),
    Call("GET", "notifications", "Who is told", calls_notify.notifications, NotifyStatus),
    Call("PUT", "notifications", "When not", calls_notify.change_notifications, takes=NotifyWish),
    Call(
        "PUT",
        "notifications/labels/{label:path}",
        "Of which labels",
        calls_notify.change_told,
        takes=ToldWish,
    ),
    Call(
        "POST",
        "notifications/test",
        "A test",
        calls_notify.send_test,
        TestResult,
        takes=TestWish,
    ),
    Call("GET", "sounds", "What can be taught", calls_sounds.sounds, SoundsStatus),
    Call("POST", "sounds", "Teach it", calls_sounds.teach, SoundsStatus, takes=TeachWish),
)


def application(context: Context) -> ASGIApp:
    """The page and its API, behind the guard."""
    routes: list[Any] = [
        Route(f"{API}{call.path}", _endpoint(call, context), methods=[call.method])
        for call in CALLS
    ]
    routes.append(Route(f"{API}openapi.json", _described, methods=["GET"]))
    routes.append(Route("/", partial(_index, context), methods=["GET"]))
    routes.append(Mount("/", _Files(directory=STATIC)))
    return Guard(Router(routes, redirect_slashes=False), context)


def _endpoint(call: Call, context: Context) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        answered = await call.handler(context, request)
        return answered if isinstance(answered, Response) else json_response(answered)

    return answer


async def _described(request: Request) -> Response:
    return json_response(description(CALLS, API))


async def _index(context: Context, request: Request) -> Response:
    if request.scope.get("is_without_slash"):  # addresses on the page are relative
        return RedirectResponse(f"{context.config.path}/")
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})


class _Files(StaticFiles):
    """A browser asks each time whether a file is new: after an update all belong together."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response
