"""Changes in the file that the settings of a run came from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge_audio.errors import UsageError
from edge_audio.listening.config import Config
from edge_audio.listening.events_config import EventsConfig
from edge_audio.listening.label_changes import Model, changed_events
from edge_audio.listening.notify_changes import changed_notify
from edge_audio.listening.settings_file import SettingsFile
from edge_audio.page.run import TeachPlan
from edge_audio.sinks.base import Change, LabelChange, SoundsChange
from edge_audio.support.files import errors_for_people, replace_file

DEFAULT_SOUNDS = "house.sounds"


class SettingsEditor:
    """Changes a file of settings, whole or not at all; comments stay."""

    def __init__(
        self,
        file: SettingsFile,
        models: Callable[[], Sequence[Model]],
        check: Callable[[EventsConfig], object],
    ) -> None:
        """models: of all streams, once open. check: raises UsageError for what cannot be."""
        self._file, self._models, self._check = file, models, check
        self._lock = threading.Lock()

    def __call__(self, change: Change) -> None:
        """May be called from any thread, and waits for the disk. Raises EdgeAudioError."""
        with self._lock:
            path = self._file.path
            raw = self._file.read_raw()
            before = self._file.decoded(raw)
            after = changed(before, change, self._models())
            if after == before:
                return
            edited = _edited(raw, before, after)
            self._check_all(after, edited, change)
            with errors_for_people(path):
                replace_file(path.resolve(), edited)

    def _check_all(self, wanted: Config, edited: bytes, change: Change) -> None:
        """The file says what is wanted and nothing else, and a run would go on by it."""
        path = self._file.path
        if self._file.decoded(edited) != wanted:
            raise UsageError(f"{path} is written in a way that only people can change: edit it")
        in_force = self._file.with_flags(wanted)
        self._check(in_force.events)
        if changed(in_force, change, self._models()) != in_force:
            raise UsageError(
                f"flags of the command line say otherwise than {path}: start without --only, "
                "--exclude, --threshold, --notify and --sounds"
            )


def changed(config: Config, change: Change, models: Sequence[Model]) -> Config:
    """The settings as they are wanted. Raises UsageError."""
    if isinstance(change, LabelChange):
        events = changed_events(config.events, change, models)
        return msgspec.structs.replace(config, events=events)
    if isinstance(change, SoundsChange):
        return msgspec.structs.replace(config, sounds=change.path)
    return msgspec.structs.replace(config, notify=changed_notify(config.notify, change, models))


def teach_plan(
    config: Config, file: SettingsFile | None, only: Callable[[], Sequence[str]]
) -> TeachPlan:
    """What is taught goes into the file that settings name, or else into one beside them."""
    folder = Path() if file is None else file.path.parent
    path = Path(config.sounds) if config.sounds else folder / DEFAULT_SOUNDS
    return TeachPlan(config.model, config.backend, path.absolute(), bool(config.sounds), only)


def _edited(raw: bytes, before: Config, after: Config) -> bytes:
    import tomlkit

    document = tomlkit.parse(raw.decode("utf-8-sig"))
    if before.sounds != after.sounds:
        document["sounds"] = after.sounds
    if before.events != after.events:
        _edit_events(document, before.events, after.events)
    if before.notify is not None and after.notify is not None:
        for name in ("only", "exclude", "urgent", "quiet_hours"):
            pair = (getattr(before.notify, name), getattr(after.notify, name))
            _edit_list(document["notify"], name, *pair)
    mark = raw[:3] if raw.startswith(b"\xef\xbb\xbf") else b""
    return mark + tomlkit.dumps(document).encode()


def _edit_events(document: Any, before: EventsConfig, after: EventsConfig) -> None:
    import tomlkit

    if "events" not in document:
        document["events"] = tomlkit.table()
    events: Any = document["events"]
    for name in ("only", "exclude"):
        _edit_list(events, name, getattr(before, name), getattr(after, name))
    for label, on in after.thresholds.items():
        if before.thresholds.get(label) != on:
            if "thresholds" not in events:
                events["thresholds"] = tomlkit.inline_table()
            events["thresholds"][label] = on
    for label in before.thresholds.keys() - after.thresholds.keys():
        del events["thresholds"][label]


def _edit_list(events: Any, name: str, before: Sequence[str], after: Sequence[str]) -> None:
    """Item by item, so that comments between them stay."""
    for label in after:
        if label not in before:
            if name not in events:
                events[name] = []
            events[name].append(label)
    for label in before:
        if label not in after:
            events[name].remove(label)
