"""Thresholds that keep a budget of false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_audio.events.operating_points import lowest_keeping
from edge_audio.events.sweep import allowed_alarms
from edge_audio.tuning.evidence import Evidence


@dataclass(frozen=True)
class Choice:
    """on: None = no threshold keeps the budget. alarms, found: before and after; hours: of audio
    without the label; n_right: recordings or confirmed events with it. is_judged: whether the hours
    are enough to count a first false alarm in; the label is not made more sensitive otherwise."""

    label: str
    on_before: float | None
    on: float | None
    alarms: tuple[int, int]
    found: tuple[int, int]
    n_right: int
    hours: float
    is_judged: bool


def choose(evidence: Evidence, alarms_per_hour: float) -> list[Choice]:
    """For each label the lowest threshold from which on all keep the budget. Labels of which
    nothing right was recorded, or too little audio without them, are never made more sensitive than
    they are: silence would have any threshold keep the budget."""
    return [_choose_one(evidence, row, alarms_per_hour) for row in range(len(evidence.labels))]


def _choose_one(evidence: Evidence, row: int, alarms_per_hour: float) -> Choice:
    thresholds, alarms, found = (
        part[row] for part in (evidence.thresholds, evidence.alarms, evidence.found)
    )
    hours = float(evidence.hours[row])
    is_judged = allowed_alarms(alarms_per_hour, hours) >= 1.0
    floor = evidence.lowest[row] if evidence.n_right[row] and is_judged else thresholds[0]
    column = lowest_keeping(thresholds, alarms, hours, alarms_per_hour, floor)
    is_on = column is not None
    return Choice(
        label=evidence.labels[row],
        on_before=float(thresholds[0]) if np.isfinite(thresholds[0]) else None,
        on=float(thresholds[column]) if is_on else None,
        alarms=(int(alarms[0]), int(alarms[column]) if is_on else 0),
        found=(int(found[0]), int(found[column]) if is_on else 0),
        n_right=int(evidence.n_right[row]),
        hours=hours,
        is_judged=is_judged,
    )
