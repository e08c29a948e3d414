"""Calls of the API on sounds that are taught from clips of the history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from starlette.requests import Request

from edge_audio.errors import EdgeAudioError
from edge_audio.history import queries
from edge_audio.history.queries import HeardEvent
from edge_audio.page.answers import Refusal
from edge_audio.page.calls_run import require_controls, told_of_change
from edge_audio.page.context import Context
from edge_audio.page.requests import body_of
from edge_audio.page.run import TeachPlan
from edge_audio.page.teaching import Clip, Lesson, State, source_name
from edge_audio.sinks.base import SoundsChange
from edge_audio.sounds.file import Sounds, read_sounds
from edge_audio.support.text import check_name, encodable


class TeachableSound(msgspec.Struct):
    """What somebody said that events were. n_clips: of them, from which it has not learned yet.
    n_others: of events that were taken for it. n_taken: takes that it has learned from."""

    name: str
    n_clips: int
    n_others: int
    n_taken: int


class SoundsStatus(msgspec.Struct):
    """problem: why nothing can be taught here, "" if something can. state, name, lines: of the
    latest lesson."""

    problem: str
    sounds: list[TeachableSound]
    state: State
    name: str
    lines: list[str]


class TeachWish(msgspec.Struct, forbid_unknown_fields=True):
    """name: what events were said to be."""

    name: str


async def sounds(context: Context, request: Request) -> SoundsStatus:
    """What can be taught, and how the latest lesson stands."""
    return await context.in_thread(_status, context)


async def teach(context: Context, request: Request) -> SoundsStatus:
    """Begins a lesson; GET sounds says what becomes of it."""
    require_controls(context)
    wanted = await body_of(request, TeachWish)
    plan, problem = context.run.teach, _problem(context)
    if plan is None or problem:
        raise Refusal(409, problem)
    lesson = await context.in_thread(_lesson, context, plan, wanted.name)
    if lesson is None or not lesson.takes:
        hint = "say of more events that they were it"
        raise Refusal(404, f"there are no new clips of {wanted.name[:80]!r}: {hint}")
    finished = partial(_finished, context, plan, lesson.name)
    if not context.teaching.begin(plan, lesson, finished):
        raise Refusal(409, f"{context.teaching.name} is being taught: wait for its end")
    told_of_change(context, request, f"teaching {lesson.name}")
    return await context.in_thread(_status, context)


def _finished(context: Context, plan: TeachPlan, name: str) -> list[str]:
    """Has settings name the file, where they do not, and says how it is heard."""
    again = "restart edge-audio to listen for it"
    watched = [label.casefold() for label in plan.only()]
    if watched and name.casefold() not in watched:
        again += ", and switch it on here then: settings have other labels alone"
    if plan.is_listened:
        return [again]
    if context.run.edit is None:
        return [f"to listen for it, start again with --sounds {plan.sounds}"]
    try:
        context.run.edit(SoundsChange(str(plan.sounds)))
    except EdgeAudioError as error:
        return [f'write sounds = "{plan.sounds}" into the settings, and {again}: {error}']
    return [f"settings name {plan.sounds.name} now: {again}"]


def _problem(context: Context) -> str:
    if context.run.teach is None:
        return "devices have models of their own, which learn nothing"
    if context.clips is None:
        return "sounds are taught from clips: record = true under [clips] keeps them"
    return ""


def _status(context: Context) -> SoundsStatus:
    plan, teaching = context.run.teach, context.teaching
    found = []
    if plan is not None:
        for lesson in _lessons(context, plan):
            counts = (len(lesson.takes), len(lesson.others), lesson.n_taken)
            found.append(TeachableSound(lesson.name, *counts))
    return SoundsStatus(_problem(context), found, teaching.state, teaching.name, teaching.lines)


def _lesson(context: Context, plan: TeachPlan, name: str) -> Lesson | None:
    folded = name.casefold()
    return next((x for x in _lessons(context, plan) if x.name.casefold() == folded), None)


def _lessons(context: Context, plan: TeachPlan) -> Iterator[Lesson]:
    """Of each name that is no label of the model, in order."""
    judged = queries.judged(context.history)
    known = _known_sounds(plan)
    own = _own_labels(context, known)
    names = {(x.told_label or "").casefold(): x.told_label or "" for x in judged}
    for folded, name in sorted(names.items()):
        if folded in own or not _is_name(name):
            continue
        taken = _sources(known, name)
        takes = (x for x in judged if (x.told_label or "").casefold() == folded)
        others = (x for x in judged if _was_taken_for(x, folded))
        heard, not_it = (list(_clips(context, events, taken)) for events in (takes, others))
        yield Lesson(name, heard, not_it, len(taken))


def _was_taken_for(event: HeardEvent, folded: str) -> bool:
    """Whether somebody said of an event of that label that it was wrong."""
    return event.label.casefold() == folded != (event.told_label or "").casefold()


def _clips(context: Context, events: Iterable[HeardEvent], taken: frozenset[str]) -> Iterator[Clip]:
    clips = context.clips
    for event in events if clips is not None else ():
        assert clips is not None
        path: Path | None = clips.find(event.id, event.at)
        if path is not None and source_name(event.id) not in taken:
            yield event.id, path


def _known_sounds(plan: TeachPlan) -> Sounds | None:
    """What is learned already; None where that is nothing, or cannot be read."""
    with suppress(EdgeAudioError):
        return read_sounds(plan.sounds) if plan.sounds.exists() else None
    return None


def _sources(known: Sounds | None, name: str) -> frozenset[str]:
    """Recordings that a sound learned from, or was told from."""
    if known is None or not known.has(name):
        return frozenset()
    sound = known.find(name)
    return frozenset(take.source for take in (*sound.takes, *sound.others))


def _own_labels(context: Context, known: Sounds | None) -> set[str]:
    """Labels of the model, which cannot be taught."""
    labels = {label.casefold() for x in context.run.settings() for label in x.stream.labels}
    return labels - {sound.name.casefold() for sound in (known.sounds if known else ())}


def _is_name(name: str) -> bool:
    try:
        check_name(name, "name")
    except ValueError:
        return False
    return name == encodable(name)
