"""Many thresholds at once: each as a detector of its own, and the budget that one must keep."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.events.detector import Event, EventDetector
from edge_audio.events.suggestion import HYSTERESIS
from edge_audio.events.sweep import SweptDetector, allowed_alarms, lowest_within

STEP_S = 0.08
SPEC = EventSpec(smoothing_s=0.1, min_on_s=0.08, min_off_s=0.2)
THRESHOLDS = np.array([[0.2, 0.5, 0.9], [0.7, 0.4, np.inf]])


def single(on: float, scores: np.ndarray) -> list[Event]:
    """What a detector of one label says; scores f32[n_steps]."""
    on = min(on, 1.0)
    spec = msgspec.structs.replace(SPEC, thresholds={"x": Threshold(on=on, off=HYSTERESIS * on)})
    detector = EventDetector(["x"], spec, STEP_S)
    events = [x for i, s in enumerate(scores) for x in detector.push(s[None], STEP_S * (i + 1))]
    return events + detector.flush(STEP_S * len(scores))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_every_threshold_reports_what_its_own_detector_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = np.cumsum(rng.normal(0.0, 0.8, (150, 2)), axis=0)
    scores = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
    swept = SweptDetector(THRESHOLDS, SPEC, STEP_S)
    for _ in range(2):  # fresh again after a flush
        found: dict[tuple[int, int], list[Event]] = {}
        times_s = [STEP_S * (i + 1) for i in range(len(scores))]
        events = [x for row, t in zip(scores, times_s, strict=True) for x in swept.push(row, t)]
        for event in events + swept.flush(times_s[-1]):
            same = msgspec.structs.replace(event, label="x")
            found.setdefault(swept.place(event.label), []).append(same)
        for place, on in np.ndenumerate(THRESHOLDS):
            assert found.get(place, []) == single(on, scores[:, place[0]])


@pytest.mark.parametrize(
    ("hours", "allowed"), [(0.0, 0), (9.0, 0), (10.0, 0), (20.0, 1), (29.0, 1), (30.0, 2)]
)
def test_a_budget_is_kept_with_one_alarm_to_spare(hours: float, allowed: int) -> None:
    points = np.array([0.2, 0.4, 0.6])
    for n in range(4):
        column = lowest_within(points, np.array([n, n, 0]), allowed_alarms(0.1, hours))
        assert column == (0 if n <= allowed else 2)


def test_the_lowest_threshold_is_found_in_any_order() -> None:
    points = np.array([np.inf, 0.6, 0.2, 0.4])
    assert lowest_within(points, np.array([9, 0, 0, 0]), 0.0) == 2
    assert lowest_within(points, np.array([9, 0, 0, 0]), 0.0, floor=0.3) == 3
    assert lowest_within(points, np.array([9, 0, 0, 1]), 0.0) == 1, "what lies below one that fails"
    assert lowest_within(points, np.array([0, 1, 0, 0]), 0.0) is None
