"""The one rule of thresholds: a rate is kept, and few recordings borrow from nearby labels."""

from __future__ import annotations

import numpy as np
import pytest

from edge_audio.bundle.spec import SENSITIVITIES
from edge_audio.events.operating_points import ALARMS_PER_HOUR, choose_columns, lowest_keeping

POINTS = 1.0 / (1.0 + np.exp(-np.linspace(-4.0, 4.0, 41)))
LABELS = ["Dog", "Bark", "Siren"]


def choose(silent_from: list[float], n_recordings: list[int], rate: float = 1.0) -> list[float]:
    """Thresholds of LABELS, each with 99 alarms in 10 hours below a value and none from it on;
    infinite where there is none."""
    alarms = np.stack([99 * (value > POINTS) for value in silent_from]).astype(np.int64)
    columns = choose_columns(LABELS, POINTS, alarms, np.full(3, 10.0), n_recordings, rate)
    return [np.inf if x is None else float(POINTS[x]) for x in columns]


def test_a_label_with_few_recordings_is_drawn_towards_nearby_ones() -> None:
    dog, bark, siren = choose([0.8, 0.0, 0.0], [50, 1, 1])
    assert dog == pytest.approx(0.8, abs=0.03)
    assert 0.4 < bark < 0.8, "a dog"
    assert siren == POINTS[0], "nothing that is on is near it"


def test_it_is_drawn_less_the_more_recordings_it_has() -> None:
    ons = [choose([0.8, 0.0, 0.5], [50, n, 9])[1] for n in (1, 5, 50, 5000)]
    assert ons == sorted(ons, reverse=True)
    assert ons[0] > 0.1 > POINTS[1] >= ons[-1]


def test_no_threshold_falls_below_what_keeps_the_rate() -> None:
    _, bark, _ = choose([0.2, 0.9, 0.5], [50, 1, 9])
    assert bark >= 0.9


def test_a_label_that_nothing_silences_has_no_threshold() -> None:
    assert choose([1.0, 0.2, 0.2], [9, 9, 9])[0] == np.inf
    nothing = np.zeros((3, 41), np.int64)
    assert choose_columns(LABELS, POINTS, nothing, np.zeros(3), [9] * 3, 1.0) == [None] * 3


def test_rates_rise_and_a_rate_is_kept_with_one_alarm_to_spare() -> None:
    assert sorted(ALARMS_PER_HOUR.values()) == [ALARMS_PER_HOUR[x] for x in SENSITIVITIES]
    points, alarms = np.array([0.2, 0.8]), np.array([10, 0])
    assert lowest_keeping(points, alarms, 11.0, 1.0) == 0
    assert lowest_keeping(points, alarms, 10.0, 1.0) == 1
