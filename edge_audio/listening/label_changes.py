"""A change of one label in the settings of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.suggestion import suggested_threshold
from edge_audio.labels.find import find_label
from edge_audio.listening.config import EventsConfig
from edge_audio.sinks.base import LabelChange

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
    if change.is_on is False and not has_label(exclude, label):
        exclude.append(label)
    if change.is_on:
        exclude = [name for name in exclude if name.casefold() != label.casefold()]
        if only and not has_label(only, label):
            only.append(label)
        own = spec.at_sensitivity(config.sensitivity).thresholds
        if not only and label not in own and not has_label(thresholds, label):
            thresholds[label] = suggested_threshold(own, label).on
    changes = {"thresholds": thresholds, "only": tuple(only), "exclude": tuple(exclude)}
    return msgspec.structs.replace(config, **changes)


def _model_with(name: str, models: Sequence[Model]) -> Model:
    """The first that knows the label; else one of which `find_label` says what it knows."""
    for model in models:
        if has_label(model[1], name):
            return model
    return models[0] if models else (EventSpec(), ())


def has_label(names: Iterable[str], label: str) -> bool:
    """Whether it is among them, in whatever letter case."""
    return any(name.casefold() == label.casefold() for name in names)


def _as_written(thresholds: dict[str, float], label: str) -> str:
    """The key that a label has already, whatever its letter case."""
    return next((name for name in thresholds if name.casefold() == label.casefold()), label)
