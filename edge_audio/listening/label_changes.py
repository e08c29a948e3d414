"""A change of one label: in the settings of a run, and in the file that they came from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from edge_audio.bundle.spec import EventSpec
from edge_audio.errors import UsageError
from edge_audio.events.suggestion import suggested_threshold
from edge_audio.labels.find import find_label
from edge_audio.listening.config import Config, EventsConfig
from edge_audio.listening.settings_file import SettingsFile
from edge_audio.sinks.base import LabelChange
from edge_audio.support.files import errors_for_people, replace_file

Model = tuple[EventSpec, Sequence[str]]  # own settings, labels


def changed_events(
    config: EventsConfig, change: LabelChange, models: Sequence[Model]
) -> EventsConfig:
    """The settings with one label as it is wanted. models: of all streams. Raises UsageError for a
    label that none of them knows."""
    spec, labels = _model_with(change.label, models)
    label = find_label(change.label, labels)
    thresholds, only, exclude = dict(config.thresholds), list(config.only), list(config.exclude)
    if change.is_normal:
        thresholds.pop(_as_written(thresholds, label), None)
    if change.threshold is not None:
        thresholds[_as_written(thresholds, label)] = change.threshold
    if change.is_on is False and not _has(exclude, label):
        exclude.append(label)
    if change.is_on:
        exclude = [name for name in exclude if name.casefold() != label.casefold()]
        if only and not _has(only, label):
            only.append(label)
        own = spec.at_sensitivity(config.sensitivity).thresholds
        if not only and label not in own and not _has(thresholds, label):
            thresholds[label] = suggested_threshold(own, label).on
    changes = {"thresholds": thresholds, "only": tuple(only), "exclude": tuple(exclude)}
    return msgspec.structs.replace(config, **changes)


class SettingsEditor:
    """Changes labels in a file of settings, whole or not at all; comments stay."""

    def __init__(
        self,
        file: SettingsFile,
        models: Callable[[], Sequence[Model]],
        check: Callable[[EventsConfig], object],
    ) -> None:
        """models: of all streams, once open. check: raises UsageError for what cannot be."""
        self._file, self._models, self._check = file, models, check
        self._lock = threading.Lock()

    def __call__(self, change: LabelChange) -> None:
        """May be called from any thread, and waits for the disk. Raises EdgeAudioError."""
        with self._lock:
            path = self._file.path
            raw = self._file.read_raw()
            before = self._file.decoded(raw)
            after = changed_events(before.events, change, self._models())
            if after == before.events:
                return
            edited = _edited(raw, before.events, after)
            self._check_all(msgspec.structs.replace(before, events=after), edited, change)
            with errors_for_people(path):
                replace_file(path.resolve(), edited)

    def _check_all(self, wanted: Config, edited: bytes, change: LabelChange) -> None:
        """The file says what is wanted and nothing else, and a run would go on by it."""
        path = self._file.path
        if self._file.decoded(edited) != wanted:
            raise UsageError(f"{path} is written in a way that only people can change: edit it")
        in_force = self._file.with_flags(wanted).events
        self._check(in_force)
        if changed_events(in_force, change, self._models()) != in_force:
            raise UsageError(
                f"flags of the command line say otherwise than {path}: start without --only, "
                "--exclude and --threshold"
            )


def _edited(raw: bytes, before: EventsConfig, after: EventsConfig) -> bytes:
    import tomlkit

    document = tomlkit.parse(raw.decode("utf-8-sig"))
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
    mark = raw[:3] if raw.startswith(b"\xef\xbb\xbf") else b""
    return mark + tomlkit.dumps(document).encode()


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


def _model_with(name: str, models: Sequence[Model]) -> Model:
    """The first that knows the label; else one of which `find_label` says what it knows."""
    for model in models:
        if _has(model[1], name):
            return model
    return models[0] if models else (EventSpec(), ())


def _has(names: Any, label: str) -> bool:
    return any(name.casefold() == label.casefold() for name in names)


def _as_written(thresholds: dict[str, float], label: str) -> str:
    """The key that a label has already, whatever its letter case."""
    return next((name for name in thresholds if name.casefold() == label.casefold()), label)
