"""What the page may know of the run that it shows, and ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_audio.bundle.spec import EventSpec
from edge_audio.sinks.base import Change
from edge_audio.sources.stream import Stream


@dataclass(frozen=True)
class StreamSettings:
    """How one stream is listened to. own: the settings of its model, and normal: these at the
    sensitivity that was chosen. events: those in force."""

    stream: Stream
    own: EventSpec
    normal: EventSpec
    events: EventSpec


@dataclass(frozen=True)
class TeachPlan:
    """How a sound is taught beside the run. model, backend: as settings name them. sounds: the file
    that keeps what was learned. is_listened: settings name that file. only: labels that alone are
    watched, as settings have them now; none = all."""

    model: str
    backend: str
    sounds: Path
    is_listened: bool
    only: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True)
class ShownRun:
    """title: the model's name, "" where devices have their own. settings: of all streams, as they
    are now. edit: writes a change into the file of settings, whole or not at all, and raises
    EdgeAudioError; None where there is no such file, so that a change holds for this run. Both may
    be called from any thread. teach: None where no model hears here."""

    title: str = ""
    settings: Callable[[], Sequence[StreamSettings]] = tuple
    edit: Callable[[Change], None] | None = None
    teach: TeachPlan | None = None
