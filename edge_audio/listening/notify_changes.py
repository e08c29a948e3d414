"""A change of notifications in the settings of a run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge_audio.errors import UsageError
from edge_audio.labels.find import find_label
from edge_audio.listening.label_changes import Model, model_with, with_label
from edge_audio.sinks.base import NotifyChange
from edge_audio.sinks.notify.config import NotifyConfig


def changed_notify(
    config: NotifyConfig | None, change: NotifyChange, models: Sequence[Model]
) -> NotifyConfig:
    """The settings as they are wanted. models: of all streams. Raises UsageError."""
    if config is None:
        raise UsageError("nobody is notified: [notify] in the settings says who is (docs/sinks.md)")
    only, exclude, urgent = config.only, config.exclude, config.urgent
    name = change.label
    label = find_label(name, model_with(name, models)[1]) if name else ""
    if change.is_told is not None:
        exclude = with_label(exclude, label, not change.is_told)
        only = with_label(only, label, True) if only and change.is_told else only
    if change.is_urgent is not None:
        urgent = with_label(urgent, label, change.is_urgent)
    quiet = config.quiet_hours
    if (wanted := change.quiet_hours) is not None:
        kept = [text for text in quiet if text in wanted]
        quiet = (*kept, *(text for text in wanted if text not in kept))
    try:
        return msgspec.structs.replace(
            config, only=only, exclude=exclude, urgent=urgent, quiet_hours=quiet
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
