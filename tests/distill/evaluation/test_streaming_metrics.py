"""Event figures against cases counted by hand."""

from __future__ import annotations

import pytest

from distill.evaluation.streaming_metrics import event_f1, false_alarms, onset_latency
from distill.mixing.soundscapes import TrueEvent
from distill.scoring.streams import Segment

LABELS = ("Dog", "Cat")


def dog(onset_s: float, offset_s: float) -> TrueEvent:
    return TrueEvent("Dog", onset_s, offset_s)


def heard(label: str, start_s: float, end_s: float, seen_s: float | None = None) -> Segment:
    return Segment(label, start_s, end_s, start_s + 0.1 if seen_s is None else seen_s)


TRUTH = [[dog(1.0, 2.0), TrueEvent("Cat", 4.0, 5.0)], [dog(3.0, 3.5)]]


@pytest.mark.parametrize(
    ("collar_s", "right"),
    [(0.2, 1), (0.5, 2)],  # the dog of scene 0 starts 0.15 s late, that of scene 1 0.4 s
)
def test_f1_counts_starts_within_the_collar(collar_s: float, right: int) -> None:
    found = [[heard("Dog", 1.15, 2.0), heard("Cat", 8.0, 9.0)], [heard("Dog", 3.4, 5.0)]]
    score = event_f1(TRUTH, found, LABELS, collar_s, lag_s=0.0, seed=0)
    assert score.micro.value == pytest.approx(2 * right / (3 + 3))
    assert score.macro.value == pytest.approx((2 * right / (2 + 2) + 0.0) / 2)
    assert (score.micro.n, score.macro.n) == (3, 2)


def test_f1_moves_starts_back_by_the_lag() -> None:
    found = [[heard("Dog", 2.0, 2.5), heard("Cat", 5.0, 6.0)], [heard("Dog", 4.0, 4.5)]]
    assert event_f1(TRUTH, found, LABELS, 0.2, lag_s=1.0, seed=0).micro.value == 1.0
    assert event_f1(TRUTH, found, LABELS, 0.2, lag_s=0.0, seed=0).micro.value == 0.0


def test_f1_matches_each_event_once_and_as_many_as_possible() -> None:
    truth = [[dog(1.0, 1.2), dog(1.3, 1.5)]]
    twice = [[heard("Dog", 1.1, 1.2), heard("Dog", 1.15, 1.2), heard("Dog", 1.12, 1.4)]]
    assert event_f1(truth, twice, ["Dog"], 0.2, 0.0, 0).micro.value == pytest.approx(2 * 2 / 5)
    crossed = [[heard("Dog", 1.12, 1.2), heard("Dog", 0.9, 1.4)]]  # the first fits both
    assert event_f1(truth, crossed, ["Dog"], 0.2, 0.0, 0).micro.value == 1.0


def test_label_without_true_events_counts_as_false_but_not_in_the_mean_over_labels() -> None:
    found = [[heard("Dog", 1.0, 2.0), heard("Bell", 1.0, 2.0)]]
    score = event_f1([[dog(1.0, 2.0)]], found, ["Dog", "Bell"], 0.2, 0.0, 0)
    assert score.micro.value == pytest.approx(2 / 3)
    assert (score.macro.value, score.macro.n) == (1.0, 1)


def test_f1_of_nothing_found_is_zero_and_its_interval_holds_the_value() -> None:
    score = event_f1(TRUTH, [[], []], LABELS, 0.2, 0.0, 0)
    assert (score.micro.value, score.micro.low, score.micro.high) == (0.0, 0.0, 0.0)
    mixed = event_f1(TRUTH * 10, [[heard("Dog", 1.0, 2.0)], []] * 10, LABELS, 0.2, 0.0, 0)
    assert mixed.micro.low < mixed.micro.value < mixed.micro.high


def test_latency_is_from_true_onset_to_the_report() -> None:
    found = [
        [heard("Dog", 1.2, 2.0, seen_s=1.3), heard("Cat", 4.4, 5.0, seen_s=4.5)],
        [heard("Dog", 4.0, 4.2, seen_s=4.1)],
    ]
    latency = onset_latency(TRUTH, found)
    assert latency.values_s == (0.3, 0.5, 1.1)
    assert latency.median_s == 0.5
    assert latency.p95_s == pytest.approx(0.5 + 0.9 * 0.6)
    assert latency.found.value == 1.0


def test_only_the_first_report_of_an_event_counts() -> None:
    again = [heard("Dog", 1.6, 2.0, seen_s=1.7), heard("Dog", 1.1, 1.4, seen_s=1.2)]
    assert onset_latency(TRUTH[:1], [again]).values_s == (0.2,)


@pytest.mark.parametrize(
    "detection",
    [
        heard("Dog", 0.5, 2.5, seen_s=0.6),  # sounded on from before
        heard("Cat", 1.1, 2.0, seen_s=1.2),
        heard("Dog", 2.9, 3.2, seen_s=3.1),  # more than a second after the end
    ],
)
def test_other_reports_do_not_find_an_event(detection: Segment) -> None:
    latency = onset_latency([[dog(1.0, 2.0)]], [[detection]])
    assert latency.found.value == 0.0
    assert latency.median_s is latency.p95_s is None


def test_false_alarms_are_counted_per_hour_and_label() -> None:
    label_hours = {"Dog": 0.5, "Cat": 0.25, "Bell": 0.25}
    alarms = false_alarms(["Dog", "Cat", "Dog"], label_hours, hours=0.5, budget=4.0)
    assert alarms.labels == {"Dog": 4.0, "Cat": 4.0, "Bell": 0.0}
    assert (alarms.total.value, alarms.total.n) == (6.0, 3)
    assert alarms.each.value == pytest.approx(3.0)
    assert (alarms.hours, alarms.n_over) == (0.5, 0)
    assert false_alarms(["Dog"] * 3, label_hours, hours=0.5, budget=4.0).n_over == 1


@pytest.mark.parametrize(("n", "low", "high"), [(0, 0.0, 3.689), (10, 4.795, 18.39)])
def test_interval_of_the_rate_is_the_exact_poisson_one(n: int, low: float, high: float) -> None:
    # Garwood 1936, as tabulated by Pearson and Hartley, table 40
    total = false_alarms(["Dog"] * n, {"Dog": 1.0}, hours=1.0, budget=0.1).total
    assert (total.low, total.high) == pytest.approx((low, high), abs=5e-3)


def test_latency_of_some_labels_leaves_out_the_events_of_others() -> None:
    found = [[heard("Dog", 1.1, 2.0), heard("Cat", 4.5, 5.0)], []]
    latency = onset_latency(TRUTH, found, {"Cat"})
    assert latency.found.n == 1
    assert latency.values_s == (0.6,)
