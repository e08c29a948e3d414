"""Labels that are off: what to say of them, and what to watch them by all the same."""

from __future__ import annotations

import math

from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity, Threshold
from edge_audio.labels.ontology import nearby_labels

HYSTERESIS = 0.7
"""off / on for a threshold that nobody calibrated."""

SUGGESTED_ON = 0.5
"""For labels without a threshold and without nearby labels that have one."""

_REASONS = {
    **{f"on at {name}": f"on at --sensitivity {name}" for name in SENSITIVITIES},
    "not told": "too little evidence to judge it by",  # by an older model
    "no recordings": "no recordings to judge it by",
    "few recordings": "too few recordings to judge it by",
    "too many false alarms": "no threshold keeps it from false alarms",
    "rarely found": "rarely found where it sounds",
}


def suggested_threshold(spec: EventSpec, label: str) -> Threshold:
    """For a label that is off: what was measured where it is on, at the least eager sensitivity.
    Else the median of the nearby labels that are on, in log-odds, and SUGGESTED_ON where there are
    none; what that brings nobody measured."""
    where = on_at(spec, label)
    if where is not None:
        return spec.sensitivities[where][label]
    thresholds = spec.thresholds
    nearby = [thresholds[x].on for x in sorted(nearby_labels(label)) if x in thresholds]
    on = round(_median_on(nearby), 2) if nearby else SUGGESTED_ON
    return Threshold(on=on, off=HYSTERESIS * on)


def on_at(spec: EventSpec, label: str) -> Sensitivity | None:
    """The least eager of the other sensitivities at which a label is on, if any."""
    there = (x for x in SENSITIVITIES if label in spec.sensitivities.get(x, ()))
    return next(there, None)


def why_off(spec: EventSpec, label: str) -> str:
    """Why a label is off, as words that follow "off: "."""
    return _REASONS[short_why_off(spec, label)]


def short_why_off(spec: EventSpec, label: str) -> str:
    """The same in two or three words."""
    where = on_at(spec, label)
    if where is not None:
        return f"on at {where}"
    return spec.off.get(label, "no recordings") if spec.sensitivities else "not told"


def _median_on(values: list[float]) -> float:
    """Without numpy, which takes forty times as long for a few numbers of hundreds of labels."""
    odds = sorted(min(max(value, 0.02), 0.99) for value in values)
    odds = [value / (1.0 - value) for value in odds]
    middle = math.sqrt(odds[(len(odds) - 1) // 2] * odds[len(odds) // 2])  # of their logarithms
    return middle / (1.0 + middle)
