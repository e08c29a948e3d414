"""A change of notifications in the settings of a run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge_audio.errors import UsageError
from edge_audio.labels.find import find_label
from edge_audio.listening.label_changes import Model, has_label
from edge_audio.sinks.base import NotifyChange
from edge_audio.sinks.notify.config import NotifyConfig


def changed_notify(
    config: NotifyConfig | None, change: NotifyChange, models: Sequence[Model]
) -> NotifyConfig:
    """The settings as they are wanted. models: of all streams. Raises UsageError."""
    if config is None:
        raise UsageError("nobody is notified: [notify] in the settings says who is (docs/sinks.md)")
    only, exclude, urgent = list(config.only), list(config.exclude), list(config.urgent)
    label = _known(change.label, models) if change.label else ""
    if change.is_told is not None:
        exclude = _with(exclude, label, not change.is_told)
        only = _with(only, label, True) if only and change.is_told else only
    if change.is_urgent is not None:
        urgent = _with(urgent, label, change.is_urgent)
    quiet = config.quiet_hours
    if (wanted := change.quiet_hours) is not None:
        kept = [text for text in quiet if text in wanted]
        quiet = (*kept, *(text for text in wanted if text not in kept))
    changes = {"only": tuple(only), "exclude": tuple(exclude), "urgent": tuple(urgent)}
    try:
        return msgspec.structs.replace(config, **changes, quiet_hours=quiet)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _known(label: str, models: Sequence[Model]) -> str:
    """As the first stream that knows it writes it. Raises UsageError."""
    known = next((labels for _, labels in models if has_label(labels, label)), None)
    if known is None:
        known = models[0][1] if models else ()
    return find_label(label, known)


def _with(labels: Sequence[str], label: str, is_wanted: bool) -> list[str]:
    """The same with that label, or without it; those that stay keep their place."""
    if is_wanted:
        return [*labels] if has_label(labels, label) else [*labels, label]
    return [each for each in labels if each.casefold() != label.casefold()]
