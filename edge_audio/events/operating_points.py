"""Which threshold keeps to how many false alarms: what `tune` takes, and below what `calibrate`
never goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import Sensitivity
from edge_audio.events.sweep import Counts, allowed_alarms, lowest_within
from edge_audio.labels.ontology import nearby_labels

ALARMS_PER_HOUR: Mapping[Sensitivity, float] = {"quiet": 0.1, "normal": 1.0, "eager": 5.0}
"""False alarms that each label may have in an hour without it. 5 of the 60 sounds an hour that
`calibrate` plays: with more, most starts of a label that sounds a few times an hour are wrong."""

WRONG_SHARE: Mapping[Sensitivity, float] = {"quiet": 0.03, "normal": 0.1, "eager": 0.25}
"""Sounds of which any label at all may say something wrong: alarms of many labels add up."""

BORROWED_RECORDINGS = 5.0
"""What is known of nearby labels counts like this many recordings of a label itself."""

_MAX_LOG_ODDS = 7.0


def lowest_keeping(
    thresholds: NDArray[np.float64],
    alarms: Counts,
    hours: float,
    alarms_per_hour: float,
    floor: float = 0.0,
) -> int | None:
    """The column of the lowest threshold from which on all keep the rate, with one alarm to spare
    (`allowed_alarms`); None if there is none. thresholds f64[n], alarms i64[n], floor: see
    `lowest_within`."""
    return lowest_within(thresholds, alarms, allowed_alarms(alarms_per_hour, hours), floor)


def choose_columns(
    labels: Sequence[str],
    points: NDArray[np.float64],
    alarms: Counts,
    hours: NDArray[np.float64],
    n_recordings: Sequence[int],
    alarms_per_hour: float,
) -> list[int | None]:
    """For each label the column of its threshold; None where none keeps the rate, or where there
    were no hours to count in. points f64[n_points] rise; alarms i64[n_labels, n_points], hours
    f64[n_labels]; n_recordings: of each label, that its threshold rests on.

    The lowest threshold that keeps the rate is drawn towards those of nearby labels: in log-odds,
    the mean of its own, which weighs as much as the label has recordings, and theirs, which weighs
    BORROWED_RECORDINGS. It never falls by that, so that the rate is kept.
    """
    own = {
        label: column
        for row, label in enumerate(labels)
        if hours[row] > 0.0
        and (column := lowest_keeping(points, alarms[row], hours[row], alarms_per_hour)) is not None
    }
    counts = dict(zip(labels, n_recordings, strict=True))
    odds = {label: _log_odds(points[column]) for label, column in own.items()}
    return [
        max(own[label], _column_from(points, _drawn(label, odds, counts))) if label in own else None
        for label in labels
    ]


def _drawn(label: str, odds: Mapping[str, float], n_recordings: Mapping[str, int]) -> float:
    """The log-odds of a threshold, drawn towards those of nearby labels."""
    nearby = [x for x in nearby_labels(label) if x in odds]
    weight = sum(n_recordings[x] for x in nearby)
    if not weight:
        return odds[label]
    theirs = sum(n_recordings[x] * odds[x] for x in nearby) / weight
    n = n_recordings[label]
    return (n * odds[label] + BORROWED_RECORDINGS * theirs) / (n + BORROWED_RECORDINGS)


def _log_odds(probability: float) -> float:
    return min(_MAX_LOG_ODDS, math.log(probability / max(1.0 - probability, 1e-9)))


def _column_from(points: NDArray[np.float64], log_odds: float) -> int:
    """The column of the first point that is not lower."""
    value = 1.0 / (1.0 + math.exp(-log_odds))
    return min(int(np.searchsorted(points, value - 1e-9)), len(points) - 1)
