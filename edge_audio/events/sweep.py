"""Many thresholds at once: what each would report, and which of them keeps a budget."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.events.detector import Event, EventDetector
from edge_audio.events.suggestion import HYSTERESIS

Counts = NDArray[np.int64]

_LOWEST_ON = 1e-6  # a threshold of 0 would be no threshold
_EPSILON = 1e-9  # rate x hours is rounded: a budget of exactly one alarm may fall short of it


class SweptDetector:
    """The event detector of every label at many thresholds at once; follows one stream. `place`
    tells whose event one is."""

    def __init__(self, thresholds: NDArray[np.float64], spec: EventSpec, step_s: float) -> None:
        """thresholds f64[n_labels, n_thresholds]: values of `on`, brought within 1e-6 and 1.
        spec: smoothing and durations; its own thresholds do not count."""
        self._n_columns = int(thresholds.shape[1])
        ons = np.clip(thresholds.ravel(), _LOWEST_ON, 1.0).tolist()
        tried = {str(i): Threshold(on=on, off=HYSTERESIS * on) for i, on in enumerate(ons)}
        spec = msgspec.structs.replace(spec, thresholds=tried)
        self._detector = EventDetector(tuple(tried), spec, step_s)

    def reset(self) -> None:
        """Forgets everything: as if nothing had sounded before the next push."""
        self._detector.reset()

    def push(self, scores: NDArray[np.float32], time_s: float) -> list[Event]:
        """scores f32[n_labels] of the step that ends at time_s -> events, sorted by time."""
        return self._detector.push(np.repeat(scores, self._n_columns), time_s)

    def flush(self, time_s: float) -> list[Event]:
        """Ends what still sounds, then resets."""
        return self._detector.flush(time_s)

    def place(self, label: str) -> tuple[int, int]:
        """(row, column) of the threshold whose events have this label."""
        return divmod(int(label), self._n_columns)


def allowed_alarms(alarms_per_hour: float, hours: float) -> float:
    """How many false alarms a threshold may have had in so many hours of audio: one less than the
    rate allows, since a threshold that just keeps a budget on some recordings breaks it on the
    next. None at all, and never fewer, in hours too few for one."""
    return max(0.0, alarms_per_hour * hours - 1.0)


def lowest_within(
    thresholds: NDArray[np.float64], alarms: Counts, allowed: float, floor: float = 0.0
) -> int | None:
    """The column of the lowest threshold of at least `floor` from which on all have at most
    `allowed` alarms; None if there is none. thresholds f64[n], alarms i64[n]: in any order;
    infinite thresholds are passed over."""
    best = None
    for column in np.argsort(-thresholds, kind="stable").tolist():
        if np.isfinite(thresholds[column]):
            if thresholds[column] < floor or alarms[column] > allowed + _EPSILON:
                break
            best = column
    return best
