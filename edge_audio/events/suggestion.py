"""Labels that are off: what to say of them, and what to watch them by all the same."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.labels.ontology import nearby_labels

HYSTERESIS = 0.7
"""off / on for a threshold that nobody calibrated."""

SUGGESTED_ON = 0.5
"""For labels without a threshold and without nearby labels that have one."""

_EAGER_ALONE = "on at eager"
_REASONS = {
    _EAGER_ALONE: "on at --sensitivity eager",
    "not told": "too little evidence to judge it by",  # by an older model
    "no recordings": "no recordings to judge it by",
    "few recordings": "too few recordings to judge it by",
    "too many false alarms": "no threshold keeps it from false alarms",
    "rarely found": "rarely found where it sounds",
}


def suggested_threshold(thresholds: Mapping[str, Threshold], label: str) -> Threshold:
    """For a label that is off: the median of the nearby labels that are on, in log-odds, and
    SUGGESTED_ON where there are none. What it brings nobody measured."""
    nearby = [thresholds[x].on for x in sorted(nearby_labels(label)) if x in thresholds]
    on = round(_median_on(nearby), 2) if nearby else SUGGESTED_ON
    return Threshold(on=on, off=HYSTERESIS * on)


def why_off(spec: EventSpec, label: str) -> str:
    """Why a label of a manifest is off at `normal`, as words that follow "off: "."""
    return _REASONS[short_why_off(spec, label)]


def short_why_off(spec: EventSpec, label: str) -> str:
    """The same in two or three words."""
    if label in spec.sensitivities.get("eager", ()):
        return _EAGER_ALONE
    return spec.off.get(label, "no recordings") if spec.sensitivities else "not told"


def _median_on(values: list[float]) -> float:
    """Without numpy, which takes forty times as long for a few numbers of hundreds of labels."""
    odds = sorted(min(max(value, 0.02), 0.99) for value in values)
    odds = [value / (1.0 - value) for value in odds]
    middle = math.sqrt(odds[(len(odds) - 1) // 2] * odds[len(odds) // 2])  # of their logarithms
    return middle / (1.0 + middle)
