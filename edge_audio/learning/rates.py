"""From the logits of what a sound is not to the threshold that keeps a rate of false alarms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import Sensitivity
from edge_audio.events.operating_points import ALARMS_PER_HOUR
from edge_audio.events.sweep import allowed_alarms
from edge_audio.learning.bank import SOUNDS_PER_HOUR
from edge_audio.support.arrays import DoubleArray

_TAIL = 0.05  # the share of recordings that the tail is fitted to
_MERGED_STEPS = 6  # two peaks that are nearer are one alarm


def peaks_of(logits: DoubleArray, owners: NDArray[np.intp]) -> DoubleArray:
    """The highest logit of each recording. owners: from 0 on."""
    peaks = np.full(int(owners.max()) + 1, -np.inf)
    np.maximum.at(peaks, owners, logits)
    return peaks


def logit_at(peaks: DoubleArray, alarms_per_hour: float) -> float:
    """The logit that is exceeded so often, where SOUNDS_PER_HOUR sounds like these are heard in an
    hour. Beyond what is stored, excesses over the 95th percentile are taken to fall exponentially:
    the tail of nearly all distributions, Pickands 1975, with shape 0."""
    high = float(np.quantile(peaks, 1.0 - _TAIL))
    excess = float((peaks[peaks >= high] - high).mean())
    share = min(alarms_per_hour / SOUNDS_PER_HOUR, 1.0)
    if share >= _TAIL:
        return float(np.quantile(peaks, 1.0 - share))
    return high + excess * float(np.log(_TAIL / share))


def logit_over_hours(alarms: DoubleArray, hours: float, alarms_per_hour: float) -> float:
    """The lowest logit that so many hours exceed as rarely as `allowed_alarms` says. alarms: the
    highest logits in them, falling, each an alarm of its own. -inf where there are too few."""
    n_allowed = int(allowed_alarms(alarms_per_hour, hours))
    return float(alarms[n_allowed]) if len(alarms) > n_allowed else -np.inf


def n_alarms_in(hours: float) -> int:
    """How many alarms of so many hours thresholds of all sensitivities rest on."""
    return int(allowed_alarms(max(ALARMS_PER_HOUR.values()), hours)) + 1


def highest_apart(logits: DoubleArray, n: int) -> list[int]:
    """Where the n highest logits of a stream are, of which no two are within _MERGED_STEPS,
    falling."""
    left, found = logits.copy(), []
    for _ in range(min(n, len(logits))):
        best = int(np.argmax(left))
        if left[best] == -np.inf:
            break
        found.append(best)
        left[max(0, best - _MERGED_STEPS) : best + _MERGED_STEPS + 1] = -np.inf
    return found


def logits_at(
    peaks: DoubleArray, hours_of_user: float, alarms: DoubleArray
) -> Mapping[Sensitivity, float]:
    """At each sensitivity, by what is stored, and never lower than the user's own hours ask for,
    see `logit_over_hours`."""
    return {
        sensitivity: max(logit_at(peaks, rate), logit_over_hours(alarms, hours_of_user, rate))
        for sensitivity, rate in ALARMS_PER_HOUR.items()
    }
