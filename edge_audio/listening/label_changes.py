"""A change of one label in the settings of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.suggestion import suggested_threshold
from edge_audio.labels.find import find_label
from edge_audio.listening.events_config import EventsConfig
from edge_audio.sinks.base import LabelChange

Model = tuple[EventSpec, Sequence[str]]  # own settings, labels


def changed_events(
    config: EventsConfig, change: LabelChange, models: Sequence[Model]
) -> EventsConfig:
    """The settings with one label as it is wanted. models: of all streams. Raises UsageError for a
    label that none of them knows."""
    spec, labels = model_with(change.label, models)
    label = find_label(change.label, labels)
    thresholds, only, exclude = dict(config.thresholds), config.only, config.exclude
    if change.is_normal:
        thresholds.pop(_as_written(thresholds, label), None)
    if change.threshold is not None:
        thresholds[_as_written(thresholds, label)] = change.threshold
    if change.is_on is not None:
        exclude = with_label(exclude, label, not change.is_on)
    if change.is_on:
        only = with_label(only, label, True) if only else only
        own = spec.at_sensitivity(config.sensitivity)
        if not only and label not in own.thresholds and not has_label(thresholds, label):
            thresholds[label] = suggested_threshold(own, label).on
    return msgspec.structs.replace(config, thresholds=thresholds, only=only, exclude=exclude)


def model_with(name: str, models: Sequence[Model]) -> Model:
    """The first that knows the label; else one of which `find_label` says what it knows."""
    for model in models:
        if has_label(model[1], name):
            return model
    return models[0] if models else (EventSpec(), ())


def has_label(names: Iterable[str], label: str) -> bool:
    """Whether it is among them, in whatever letter case."""
    return any(name.casefold() == label.casefold() for name in names)


def with_label(labels: Sequence[str], label: str, is_wanted: bool) -> tuple[str, ...]:
    """The same with that label, or without it; those that stay keep their place."""
    if is_wanted:
        return tuple(labels) if has_label(labels, label) else (*labels, label)
    return tuple(each for each in labels if each.casefold() != label.casefold())


def _as_written(thresholds: dict[str, float], label: str) -> str:
    """The key that a label has already, whatever its letter case."""
    return next((name for name in thresholds if name.casefold() == label.casefold()), label)
