"""Calls of the API on notifications: who is told, of which labels, and when not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from edge_audio.page.answers import Refusal
from edge_audio.page.calls_run import label, require_controls, told_of_change
from edge_audio.page.context import Context
from edge_audio.page.requests import body_of
from edge_audio.sinks.base import NotifyChange
from edge_audio.sinks.notify.destination import NotifyDestination
from edge_audio.sinks.notify.quiet_hours import MAX_CHARS, MAX_QUIET_HOURS, QuietHours
from edge_audio.support.text import encodable


class RecipientStatus(msgspec.Struct):
    """Without the address. problem: of the latest message, "" if it was taken. n_lost: messages
    that were given up. labels: that are told; null = all."""

    name: str
    service: str
    problem: str
    n_lost: int
    labels: list[str] | None


class ToldLabel(msgspec.Struct):
    """is_urgent: told in quiet hours, too."""

    label: str
    is_told: bool
    is_urgent: bool


class NotifyStatus(msgspec.Struct):
    """recipients: none where no [notify] says who is told. is_quiet: quiet hours hold now.
    n_held_back: since the start. sends_clips: with messages. labels: that are watched."""

    recipients: list[RecipientStatus]
    quiet_hours: list[str]
    is_quiet: bool
    n_held_back: int
    sends_clips: bool
    labels: list[ToldLabel]


class NotifyWish(msgspec.Struct, forbid_unknown_fields=True):
    """All quiet hours, as in the settings: "22:00-07:00", "sat-sun 07:00-09:00"."""

    quiet_hours: Annotated[
        list[Annotated[str, Meta(max_length=MAX_CHARS)]], Meta(max_length=MAX_QUIET_HOURS)
    ]


class ToldWish(msgspec.Struct, forbid_unknown_fields=True):
    """Of one label; null = as it is."""

    is_told: bool | None = None
    is_urgent: bool | None = None


class TestWish(msgspec.Struct, forbid_unknown_fields=True):
    """recipient: by its name."""

    recipient: str


class TestResult(msgspec.Struct):
    """problem: "" if the message was taken."""

    problem: str


async def notifications(context: Context, request: Request) -> NotifyStatus:
    """Who is told, and of what."""
    notify = context.notify
    if notify is None:
        return NotifyStatus([], [], False, 0, False, [])
    return NotifyStatus(
        recipients=_recipients(notify),
        quiet_hours=list(notify.config.quiet_hours),
        is_quiet=notify.is_quiet,
        n_held_back=notify.limits.n_all,
        sends_clips=notify.config.clip_wait_s > 0.0,
        labels=list(_labels(context, notify)),
    )


def _recipients(notify: NotifyDestination) -> list[RecipientStatus]:
    told = {name: [*labels] for name, labels in notify.config.recipients.items()}
    return [
        RecipientStatus(x.name, x.service, x.problem, x.n_lost, told.get(x.name))
        for x in notify.recipients
    ]


def _labels(context: Context, notify: NotifyDestination) -> Iterator[ToldLabel]:
    streams = context.run.settings()
    watched = {name for stream in streams for name in stream.events.thresholds}
    urgent = {name.casefold() for name in notify.config.urgent}
    for name in sorted(watched, key=str.casefold):
        yield ToldLabel(encodable(name), notify.wants(name), name.casefold() in urgent)


async def change_notifications(context: Context, request: Request) -> None:
    """Other quiet hours."""
    require_controls(context)
    wanted = await body_of(request, NotifyWish)
    try:
        for text in wanted.quiet_hours:
            QuietHours.parse(text)
    except ValueError as error:
        raise Refusal(400, str(error)) from None
    _require_notify(context)
    await context.change(NotifyChange(quiet_hours=tuple(dict.fromkeys(wanted.quiet_hours))))
    told_of_change(context, request, f"quiet hours: {', '.join(wanted.quiet_hours) or 'none'}")


async def change_told(context: Context, request: Request) -> None:
    """Whether a label is told, and whether also in quiet hours."""
    require_controls(context)
    wanted = await body_of(request, ToldWish)
    name = (await label(context, request)).label
    if wanted == ToldWish():
        raise Refusal(400, "say what to change: is_told or is_urgent")
    _require_notify(context)
    await context.change(NotifyChange(name, wanted.is_told, wanted.is_urgent))
    told = {True: "told", False: "not told", None: ""}[wanted.is_told]
    urgent = {True: "urgent", False: "not urgent", None: ""}[wanted.is_urgent]
    told_of_change(context, request, f"{name}: {', '.join(filter(None, (told, urgent)))}")


async def send_test(context: Context, request: Request) -> TestResult:
    """A message to one recipient; answers when it was taken, or not."""
    require_controls(context)
    wanted = await body_of(request, TestWish)
    notify = _require_notify(context)
    if wait_s := context.tests.wait_s(""):
        raise Refusal(429, f"wait {wait_s:.0f} s, and try again", {"retry-after": f"{wait_s:.0f}"})
    loop = asyncio.get_running_loop()
    outcome = await loop.run_in_executor(context.test_pool, notify.test, wanted.recipient)
    if outcome is None:
        raise Refusal(404, "nobody is called so: GET notifications has all")
    return TestResult(outcome.problem)


def _require_notify(context: Context) -> NotifyDestination:
    """Raises Refusal."""
    if context.notify is None:
        raise Refusal(409, "nobody is notified: [notify] in the settings says who is")
    return context.notify
