"""What a user may choose of a tagger, in every function that opens one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypedDict

from edge_audio.bundle.spec import EventSpec, Sensitivity
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.events.choice import select_events
from edge_audio.events.policy import PolicySpec

ScoresOf = Literal["all", "watched"]
"""Which labels have scores: all of the model, or those alone that may become events."""


class TaggerSettings(TypedDict, total=False):
    """Keywords of `Tagger.open`, which says what each means."""

    model: str | Path
    backend: str
    events: EventSpec | None
    gate_dbfs: float | None
    policy: PolicySpec | None
    only: Iterable[str]
    exclude: Iterable[str]
    threshold: float | Mapping[str, float] | None
    sensitivity: Sensitivity | None
    embedding: bool
    sounds: str | Path | None
    scores: ScoresOf


def choose_events(
    bundle: Bundle,
    events: EventSpec | None,
    only: Iterable[str],
    exclude: Iterable[str],
    threshold: float | Mapping[str, float] | None,
    sensitivity: Sensitivity | None,
) -> EventSpec:
    """The `events` as given, or those of the bundle as `select_events` changes them. Raises
    UsageError where both are given, or what is none of these."""
    manifest = bundle.manifest
    if events is None:
        chosen = manifest.events, manifest.labels, only, exclude, threshold, sensitivity
        return select_events(*chosen)
    if not isinstance(events, EventSpec):
        raise UsageError(f"events are {events!r}: give an EventSpec, or only, threshold and so on")
    if only or exclude or threshold is not None or sensitivity is not None:
        raise UsageError(
            "events say all about labels and thresholds: leave out only, exclude, threshold and "
            "sensitivity, or pass them to select_events"
        )
    return events


def with_scores_of(bundle: Bundle, events: EventSpec, scores: ScoresOf) -> Bundle:
    """The bundle with the labels that are to have scores. Raises UsageError for what is no
    ScoresOf, and where no label would have any."""
    if scores == "all":
        return bundle
    if scores != "watched":
        raise UsageError(f'scores are {scores!r}: ask for those of "all" labels, or "watched" ones')
    if not events.thresholds:
        raise UsageError("no label is watched, so none would have a score: leave out scores")
    return bundle.with_labels(events.thresholds)


def check_scored(bundle: Bundle, events: EventSpec) -> None:
    """Raises UsageError for a label that would be watched and has no score."""
    unscored = events.thresholds.keys() - set(bundle.manifest.labels)
    if bundle.whole is not None and unscored:
        raise UsageError(
            f"{min(unscored)!r} has no score: this was opened with scores of watched labels alone; "
            "watch it from the start, or leave out scores"
        )
