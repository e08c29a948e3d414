"""Which labels are watched, and from which score on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from edge_audio.bundle.spec import EventSpec, Sensitivity, Threshold
from edge_audio.errors import UsageError
from edge_audio.events.suggestion import HYSTERESIS, suggested_threshold
from edge_audio.labels.find import find_label
from edge_audio.support.arrays import is_number


def select_events(
    spec: EventSpec,
    labels: Sequence[str],
    only: Iterable[str] = (),
    exclude: Iterable[str] = (),
    threshold: float | Mapping[str, float] | None = None,
    sensitivity: Sensitivity | None = None,
) -> EventSpec:
    """The EventSpec a user asks for, starting from a model's own.

    only: watch just these labels, one or several; empty = all that have a threshold. exclude: never
    these.
    threshold: one `on` for every watched label, or `on` per label. A label that is off by
    default for want of evidence is watched if it is given its own threshold, or named in
    `only`, which without a common one takes what was measured at another sensitivity, or what
    nearby labels suggest (see `suggested_threshold`).
    sensitivity: where the thresholds come from that are not given; None = `normal`. Labels match
    regardless of case.

    Raises UsageError for an unknown label, a threshold outside (0, 1], or if no label is left.
    """
    spec = spec.at_sensitivity(sensitivity)
    wanted = [find_label(name, labels) for name in label_names(only)]
    unwanted = {find_label(name, labels) for name in label_names(exclude)}
    thresholds = _override(spec.thresholds, labels, wanted, threshold)
    for label in wanted:
        thresholds.setdefault(label, suggested_threshold(spec, label))
    kept = {
        label: value
        for label, value in thresholds.items()
        if label not in unwanted and (label in wanted or not wanted)
    }
    if not kept and (wanted or unwanted):
        raise UsageError("no label is left to listen for: name others or exclude fewer")
    return msgspec.structs.replace(spec, thresholds=kept)


def label_names(labels: Iterable[str]) -> tuple[str, ...]:
    """A single label, which is a sequence of letters too, by itself; those of an iterator, once.
    Raises UsageError for anything else."""
    names = labels if isinstance(labels, Iterable) and not isinstance(labels, str) else (labels,)
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{name!r} is no label: give names such as 'Dog', one or several")
    return names


def _override(
    thresholds: Mapping[str, Threshold],
    labels: Sequence[str],
    wanted: Iterable[str],
    threshold: float | Mapping[str, float] | None,
) -> dict[str, Threshold]:
    if threshold is None:
        return dict(thresholds)
    if isinstance(threshold, Mapping):
        given = {find_label(name, labels): on for name, on in threshold.items()}
        for label, on in given.items():
            _require_probability(on, f" of {label}")
    else:
        _require_probability(threshold)
        given = dict.fromkeys([*thresholds, *wanted], threshold)
    chosen = {label: _user_threshold(thresholds.get(label), on) for label, on in given.items()}
    return {**thresholds, **chosen}


def _require_probability(on: float, of: str = "") -> None:
    if not is_number(on):
        raise UsageError(f"threshold {on!r}{of} is no number: give a probability such as 0.5")
    if not 0.0 < on <= 1.0:
        raise UsageError(f"threshold {on:g}{of} is outside 0 to 1: give a probability such as 0.5")


def _user_threshold(calibrated: Threshold | None, on: float) -> Threshold:
    """`on` as given, `off` in the calibrated proportion; what it brings nobody measured."""
    ratio = calibrated.off / calibrated.on if calibrated else HYSTERESIS
    return Threshold(on=on, off=on * ratio)
