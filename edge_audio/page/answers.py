"""What the API answers and takes, as types, of which openapi.json is made."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from edge_audio.bundle.spec import Sensitivity
from edge_audio.history.queries import HeardEvent
from edge_audio.history.store import Verdict


class Refusal(Exception):  # noqa: N818 - an answer, like any other
    """A request that is not fulfilled. text: what to do."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}


class StreamStatus(msgspec.Struct):
    """level_dbfs: of the latest audio, null of a device. problem: "" if nothing is wrong."""

    name: str
    is_live: bool
    level_dbfs: float | None
    lost_s: float
    problem: str
    n_events: int


class DestinationStatus(msgspec.Struct):
    """n_lost: records that never arrived."""

    name: str
    problem: str
    n_lost: int


class Disk(msgspec.Struct):
    """free_bytes: where the history is, or the clips; null where neither is."""

    free_bytes: int | None = None
    history_bytes: int = 0
    clips_bytes: int = 0


class Load(msgspec.Struct):
    """cpu_share: of one core, lately. real_time_factor: CPU seconds per second of audio, since the
    start."""

    cpu_share: float
    real_time_factor: float


class Status(msgspec.Struct):
    """csrf_token: to be given back as X-CSRF-Token; null in server-sent events. can_change:
    settings may be changed here. history: in a file, or of this run alone."""

    version: str
    model: str
    uptime_s: float
    csrf_token: str | None
    is_paused: bool
    sensitivity: Sensitivity
    sensitivities: list[Sensitivity]
    can_change: bool
    needs_password: bool
    is_logged_in: bool
    history: Literal["file", "memory"]
    has_clips: bool
    streams: list[StreamStatus]
    destinations: list[DestinationStatus]
    disk: Disk
    load: Load


class SessionStatus(msgspec.Struct):
    """Whether somebody has to log in first."""

    needs_password: bool
    is_logged_in: bool
    csrf_token: str | None


class OperatingPoint(msgspec.Struct):
    """What a threshold brings, as it was measured for the model."""

    threshold: float
    alarms_per_hour: float | None
    recall: float | None


class LabelStatus(msgspec.Struct, omit_defaults=True):
    """threshold: null where the label is off. normal_threshold: the model's own, at the sensitivity
    that was chosen. reason: why it is off by itself; "" if it is not. parents: what it is a kind
    of. curve: of labels/{label} alone.
    """

    label: str
    is_on: bool
    threshold: float | None
    normal_threshold: float | None
    alarms_per_hour: float | None
    recall: float | None
    reason: str
    parents: list[str]
    curve: list[OperatingPoint] | None = None


class Feedback(msgspec.Struct):
    """label: what it was, with the verdict "other"."""

    verdict: Verdict
    label: str | None


class EventStatus(msgspec.Struct):
    """One sound. duration_s: null while it sounds, and where nobody heard its end."""

    id: int
    at: str
    unix_s: float
    stream: str
    label: str
    score: float
    duration_s: float | None
    is_sounding: bool
    has_clip: bool
    feedback: Feedback | None

    @classmethod
    def of(cls, event: HeardEvent, has_clip: bool) -> EventStatus:
        said = Feedback(event.verdict, event.told_label) if event.verdict else None
        at = event.at.isoformat(timespec="milliseconds")
        seen = (event.stream, event.label, event.score, event.duration_s, event.is_sounding)
        return cls(event.id, at, event.unix_s, *seen, has_clip, said)


class EventPage(msgspec.Struct):
    """Newest first. next_before_id: for more; null where there are no more."""

    events: list[EventStatus]
    next_before_id: int | None


# What is asked for in bodies


class LabelWish(msgspec.Struct, forbid_unknown_fields=True):
    """Of one label; what is left out stays as it is. threshold: null = the model's own."""

    threshold: float | UnsetType | None = UNSET
    is_on: bool | None = None


class RunWish(msgspec.Struct, forbid_unknown_fields=True):
    """Of the run; null = as it is."""

    is_paused: bool | None = None
    sensitivity: Sensitivity | None = None


class FeedbackWish(msgspec.Struct, forbid_unknown_fields=True):
    """verdict: null takes back what was said. label: what it was, with the verdict "other"."""

    verdict: Verdict | None
    label: str | None = None


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody typed."""

    password: str

    def __repr__(self) -> str:
        return "Login(...)"
