"""Calls of the API on the run: how it is, what it hears, what is to change."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from msgspec import UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edge_audio.page.answers import (
    LabelStatus,
    LabelWish,
    Login,
    Refusal,
    RunWish,
    SessionStatus,
    Status,
)
from edge_audio.page.context import Context
from edge_audio.page.guard import cookie_name, csrf_token_of, session_in, session_of, token_of
from edge_audio.page.hub import Reader
from edge_audio.page.labels import label_status, label_statuses
from edge_audio.page.others import OtherListener
from edge_audio.page.requests import body_of, json_response
from edge_audio.page.sessions import SESSION_S
from edge_audio.sinks.base import LabelChange, Wish

LOOK_EVERY_S = 2.0
GATHER_S = 0.04  # messages that come within are sent at once


async def status(context: Context, request: Request) -> Status:
    """How the run is."""
    session = session_in(request)
    return await context.status(csrf_token_of(context, session), session is not None)


async def labels(context: Context, request: Request) -> list[LabelStatus]:
    """All labels."""
    return await context.in_thread(label_statuses, context.run.settings())


async def label(context: Context, request: Request) -> LabelStatus:
    """One label, with its curve."""
    streams = context.run.settings()
    found = await context.in_thread(label_status, streams, request.path_params["label"])
    if found is None:
        raise Refusal(404, "no stream knows that label: GET labels has all")
    return found


async def change_label(context: Context, request: Request) -> None:
    """Another threshold, or on and off, from now on."""
    require_controls(context)
    wanted = await body_of(request, LabelWish)
    name = (await label(context, request)).label
    threshold = None if isinstance(wanted.threshold, UnsetType) else wanted.threshold
    if threshold is not None and not 0.0 < threshold <= 1.0:
        raise Refusal(400, "threshold must be a probability such as 0.5")
    change = LabelChange(name, threshold, wanted.is_on, is_normal=wanted.threshold is None)
    if change == LabelChange(name):
        raise Refusal(400, "say what to change: threshold or is_on")
    await context.change(change)
    told_of_change(context, request, f"{name}: {_words(change)}")


async def change_run(context: Context, request: Request) -> None:
    """Pause, or another sensitivity, until settings are read again."""
    require_controls(context)
    wanted = await body_of(request, RunWish)
    if wanted == RunWish():
        raise Refusal(400, "say what to change: is_paused or sensitivity")
    await context.wish(Wish(wanted.sensitivity, wanted.is_paused))


def require_controls(context: Context) -> None:
    """Raises Refusal where nothing may be changed here."""
    if not context.config.controls:
        raise Refusal(403, "controls = false under [page]: nothing can be changed here")


def _words(change: LabelChange) -> str:
    threshold = "the model's own threshold" if change.is_normal else ""
    if change.threshold is not None:
        threshold = f"threshold {change.threshold:g}"
    is_on = "" if change.is_on is None else ("on" if change.is_on else "off")
    return ", ".join(part for part in (threshold, is_on) if part)


def told_of_change(context: Context, request: Request, text: str) -> None:
    """The run says what somebody changed."""
    host = request.client.host if request.client else "somebody"
    context.remarks.append(f"{text} (by {host})")


async def others(context: Context, request: Request) -> list[OtherListener]:
    """Other listeners."""
    return await context.others.look(context.config.others)


# Logging in


async def session(context: Context, request: Request) -> SessionStatus:
    """Whether somebody has to log in."""
    return _session_status(context, session_in(request) is not None, request)


def _session_status(context: Context, is_logged_in: bool, request: Request) -> SessionStatus:
    needs_password = context.password is not None
    is_known = is_logged_in or not needs_password
    token = csrf_token_of(context, session_in(request)) if is_known else None
    return SessionStatus(needs_password, is_logged_in, token)


async def log_in(context: Context, request: Request) -> Response:
    """A session for who knows the password."""
    password = context.password
    if password is None:
        return json_response(_session_status(context, False, request))
    given = await body_of(request, Login)
    address = request.client.host if request.client else ""
    wait_s = context.logins.wait_s(address) or context.all_logins.wait_s("")
    if wait_s:
        raise Refusal(429, f"wait {wait_s:.0f} s, and try again", {"retry-after": f"{wait_s:.0f}"})
    loop = asyncio.get_running_loop()
    if not await loop.run_in_executor(context.password_pool, password.fits, given.password):
        context.remarks.append(f"wrong password from {address}")
        raise Refusal(401, "that is not the password")
    context.logins.forgive(address)
    token = context.sessions.open()
    request.scope["session"] = context.sessions.find(token)
    response = json_response(_session_status(context, True, request))
    _set_cookie(context, request, response, token)
    return response


async def log_out(context: Context, request: Request) -> Response:
    """Ends the session."""
    context.sessions.close(token_of(context.config, request.headers))
    response = json_response(None)
    response.delete_cookie(cookie_name(context.config), path=context.config.path or "/")
    return response


def _set_cookie(context: Context, request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        cookie_name(context.config),
        token,
        max_age=round(SESSION_S),
        path=context.config.path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


# Looking on


async def live(context: Context, request: Request) -> Response:
    """What is heard, as server-sent events."""
    reader = context.hub.join()
    if reader is None:
        raise Refusal(503, "too many look on: try again later", {"retry-after": "60"})
    return _LiveResponse(context, reader, request)


class _LiveResponse(Response):
    """Server-sent events until the browser leaves, its session ends, or the page is closed."""

    def __init__(self, context: Context, reader: Reader, request: Request) -> None:
        super().__init__(media_type="text/event-stream")
        self.headers["x-accel-buffering"] = "no"  # of nginx
        del self.headers["content-length"]
        self._context, self._reader, self._request = context, reader, request
        self._look_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await send(_body((await self._context.status_message()).wire, more=True))
            while self._may_go_on() and not gone.done():
                if waiting := await self._reader.take(LOOK_EVERY_S):
                    await send(_body(waiting, more=True))
                    await asyncio.sleep(GATHER_S)
            await send(_body(b"", more=False))
        finally:
            self._context.hub.leave(self._reader)
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    def _may_go_on(self) -> bool:
        """Whether the session lasts is looked at now and then."""
        if self._context.hub.is_closed:
            return False
        if self._context.password is None or time.monotonic() < self._look_s:
            return True
        self._look_s = time.monotonic() + LOOK_EVERY_S
        return session_of(self._context, self._request.headers) is not None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(content: bytes, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": content, "more_body": more}
