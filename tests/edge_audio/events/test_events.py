"""The event state machine: hysteresis, durations, times, and what a user may select."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.errors import UsageError
from edge_audio.events.choice import select_events
from edge_audio.events.detector import Event, EventDetector
from edge_audio.events.suggestion import HYSTERESIS

STEP_S = 0.08
LABELS = ("Speech", "Siren", "Fire engine, fire truck (siren)", "Dog")


def threshold(on: float = 0.5, off: float = 0.3) -> Threshold:
    return Threshold(on=on, off=off)


def make_spec(**changes: Any) -> EventSpec:
    spec = EventSpec(thresholds={"Speech": threshold(), "Dog": threshold(0.8, 0.6)})
    return msgspec.structs.replace(spec, **changes)


def run(spec: EventSpec, rows: np.ndarray, flush: bool = True) -> list[Event]:
    """rows f32[n_steps, 4]; step i ends at (i + 1) * STEP_S."""
    detector = EventDetector(LABELS, spec, STEP_S)
    events = []
    for i, row in enumerate(np.asarray(rows, np.float32)):
        events += detector.push(row, (i + 1) * STEP_S)
    return events + (detector.flush(len(rows) * STEP_S) if flush else [])


def speech(*scores: float) -> np.ndarray:
    rows = np.zeros((len(scores), len(LABELS)), np.float32)
    rows[:, 0] = scores
    return rows


def timeline(events: list[Event]) -> list[tuple[str, str, int]]:
    """(kind, label, step) with the step counted from 1."""
    return [(event.kind, event.label, round(event.time_s / STEP_S)) for event in events]


def test_start_at_on_and_end_below_off_with_hysteresis_between() -> None:
    events = run(make_spec(), speech(0.4, 0.5, 0.35, 0.3, 0.9, 0.29, 0.4, 0.1), flush=False)
    assert timeline(events) == [("start", "Speech", 2), ("end", "Speech", 6)]
    assert events[0].score == pytest.approx(0.5)
    assert events[1].score == pytest.approx(0.9)


def test_labels_without_threshold_are_never_reported() -> None:
    rows = np.zeros((5, len(LABELS)), np.float32)
    rows[:, 1:3] = 1.0
    assert run(make_spec(), rows) == []


def test_short_sound_is_not_reported_and_a_long_one_keeps_its_first_time() -> None:
    spec = make_spec(min_on_s=0.16)
    events = run(spec, speech(0.0, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.1), flush=False)
    assert timeline(events) == [("start", "Speech", 5), ("end", "Speech", 8)]


def test_short_gap_does_not_end_an_event_and_a_long_one_keeps_its_first_time() -> None:
    spec = make_spec(min_off_s=0.16)
    events = run(spec, speech(0.9, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1), flush=False)
    assert timeline(events) == [("start", "Speech", 1), ("end", "Speech", 5)]


def test_flush_ends_open_events_where_they_fell_or_at_the_end() -> None:
    spec = make_spec(min_off_s=1.0)
    assert timeline(run(spec, speech(0.9, 0.9))) == [("start", "Speech", 1), ("end", "Speech", 2)]
    assert timeline(run(spec, speech(0.9, 0.9, 0.1, 0.1)))[1:] == [("end", "Speech", 3)]


def test_smoothing_follows_the_time_constant_whatever_the_step() -> None:
    for step_s in (0.01, 0.08, 0.16):
        detector = EventDetector(LABELS, make_spec(smoothing_s=0.5), step_s)
        rose_s = None
        for i in range(200):
            if detector.push(speech(1.0)[0], (i + 1) * step_s):
                rose_s = (i + 1) * step_s
                break
        ideal_s = 0.5 * math.log(2.0)  # 1 - exp(-t / 0.5) reaches 0.5
        assert rose_s is not None
        assert ideal_s - 1e-9 <= rose_s <= ideal_s + step_s


def test_a_sudden_sound_comes_through_at_once_and_flicker_ends_no_event() -> None:
    """With an attack of its own: one smoothing for both would miss the one or break the other."""
    rows = speech(1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    apart = make_spec(smoothing_s=0.2, attack_s=0.0, thresholds={"Speech": threshold(0.9, 0.5)})
    assert timeline(run(apart, rows)) == [("start", "Speech", 1), ("end", "Speech", 7)]
    slow = msgspec.structs.replace(apart, attack_s=None)
    assert timeline(run(slow, rows)) == []
    quick = msgspec.structs.replace(apart, smoothing_s=0.0)
    assert len(timeline(run(quick, rows))) == 6


def test_reset_equals_fresh_and_scores_are_not_modified() -> None:
    rows = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    kept = rows.copy()
    detector = EventDetector(LABELS, make_spec(smoothing_s=0.1, min_on_s=0.08), STEP_S)
    for row in rows:
        detector.push(row, 1.0)
    detector.reset()
    events = [e for i, row in enumerate(rows) for e in detector.push(row, (i + 1) * STEP_S)]
    assert events == run(detector.spec, rows, flush=False)
    np.testing.assert_array_equal(rows, kept)


scores_rows = st.lists(
    st.lists(st.sampled_from([0.0, 0.29, 0.31, 0.5, 0.61, 0.8, 1.0]), min_size=4, max_size=4),
    max_size=60,
)
durations_s = st.sampled_from([0.0, 0.05, 0.08, 0.2, 0.5])


@settings(max_examples=200, deadline=None)
@given(rows=scores_rows, smoothing_s=durations_s, min_on_s=durations_s, min_off_s=durations_s)
def test_events_alternate_rise_in_time_and_last_long_enough(
    rows: list[list[float]], smoothing_s: float, min_on_s: float, min_off_s: float
) -> None:
    spec = make_spec(smoothing_s=smoothing_s, min_on_s=min_on_s, min_off_s=min_off_s)
    events = run(spec, np.array(rows, np.float32).reshape(-1, 4))
    for label in LABELS:
        own = [event for event in events if event.label == label]
        assert [event.kind for event in own] == ["start", "end"] * (len(own) // 2)
        times_s = [event.time_s for event in own]
        assert times_s == sorted(times_s)
        for start, end in zip(own[::2], own[1::2], strict=True):
            assert end.time_s - start.time_s >= min_on_s - 1e-6
            assert end.score >= start.score
        gaps_s = [b - a for a, b in zip(times_s[1::2], times_s[2::2], strict=False)]
        assert all(gap_s >= min_off_s - 1e-6 for gap_s in gaps_s)
        assert all(0 < time_s <= len(rows) * STEP_S for time_s in times_s)


def detector_ref(spec: EventSpec, rows: np.ndarray) -> list[tuple[str, str, int]]:
    """The definition for one label after another, in plain Python over the whole recording."""
    events = []
    rise, fall = (
        1 - math.exp(-STEP_S / tau_s) if tau_s else 1.0
        for tau_s in (spec.rising_s, spec.smoothing_s)
    )
    for label, point in spec.thresholds.items():
        smoothed, active, since = np.float32(0), False, None
        for step, score in enumerate(rows[:, LABELS.index(label)], start=1):
            factor = np.float32(rise if score > smoothed else fall)
            smoothed += factor * (score - smoothed)
            off = np.float32(point.off)
            changed = smoothed < off if active else smoothed >= np.float32(point.on)
            since = (since or step) if changed else None
            wait_s = spec.min_off_s if active else spec.min_on_s
            if since is not None and (step - since) * STEP_S >= wait_s - 1e-6:
                events.append(("end" if active else "start", label, since))
                active, since = not active, None
        if active:
            events.append(("end", label, since or len(rows)))
    return events


@settings(max_examples=200, deadline=None)
@given(
    rows=scores_rows,
    smoothing_s=durations_s,
    attack_s=st.none() | durations_s,
    min_on_s=durations_s,
    min_off_s=durations_s,
)
def test_vectorised_detector_equals_the_definition(
    rows: list[list[float]],
    smoothing_s: float,
    attack_s: float | None,
    min_on_s: float,
    min_off_s: float,
) -> None:
    spec = make_spec(
        smoothing_s=smoothing_s, attack_s=attack_s, min_on_s=min_on_s, min_off_s=min_off_s
    )
    scores = np.array(rows, np.float32).reshape(-1, 4)
    assert sorted(timeline(run(spec, scores))) == sorted(detector_ref(spec, scores))


def test_without_options_the_models_own_events_are_kept() -> None:
    assert select_events(make_spec(min_on_s=0.3), LABELS) == make_spec(min_on_s=0.3)
    assert select_events(EventSpec(), LABELS) == EventSpec()


def test_only_and_exclude_narrow_and_match_regardless_of_case() -> None:
    assert list(select_events(make_spec(), LABELS, only=["dog"]).thresholds) == ["Dog"]
    assert list(select_events(make_spec(), LABELS, exclude=["DOG"]).thresholds) == ["Speech"]


def test_one_threshold_applies_to_all_watched_labels_and_keeps_the_hysteresis() -> None:
    thresholds = select_events(make_spec(), LABELS, threshold=0.2).thresholds
    assert set(thresholds) == {"Speech", "Dog"}
    assert thresholds["Speech"].on == 0.2
    assert thresholds["Speech"].off == pytest.approx(0.2 * 0.3 / 0.5)
    assert thresholds["Speech"].alarms_per_hour is None, "not measured at this threshold"


def test_uncalibrated_label_takes_the_threshold_that_is_given() -> None:
    for given_threshold in (0.4, {"Siren": 0.4}):
        chosen = select_events(make_spec(), LABELS, only=["Siren"], threshold=given_threshold)
        assert list(chosen.thresholds) == ["Siren"]
        assert chosen.thresholds["Siren"].off == pytest.approx(0.4 * HYSTERESIS)


def test_threshold_per_label_adds_that_label_and_leaves_the_others() -> None:
    thresholds = select_events(make_spec(), LABELS, threshold={"siren": 0.4}).thresholds
    assert set(thresholds) == {"Speech", "Dog", "Siren"}
    assert thresholds["Speech"] == threshold()


@pytest.mark.parametrize(
    "options", [{"only": ["Sirn"]}, {"exclude": ["Sirn"]}, {"threshold": {"Sirn": 0.5}}]
)
def test_unknown_label_suggests_close_ones(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"unknown label 'Sirn': did you mean 'Siren'"):
        select_events(make_spec(), LABELS, **options)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, math.nan])
def test_threshold_outside_its_range_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="outside 0 to 1"):
        select_events(make_spec(), LABELS, threshold=value)


def test_nothing_left_to_listen_for_is_refused() -> None:
    with pytest.raises(UsageError, match="no label is left"):
        select_events(make_spec(), LABELS, exclude=["Speech", "Dog"])


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 30))
def test_a_change_to_the_same_spec_changes_nothing(tenths: list[int], when: int) -> None:
    spec, rows = make_spec(smoothing_s=0.1), speech(*(tenth / 10.0 for tenth in tenths))
    detector = EventDetector(LABELS, spec, STEP_S)
    events = []
    for i, row in enumerate(rows):
        if i == when:
            assert detector.change(spec, i * STEP_S) == []
        events += detector.push(row, (i + 1) * STEP_S)
    assert events == run(spec, rows, flush=False)


def test_a_change_ends_what_is_no_longer_watched_and_keeps_the_rest() -> None:
    detector = EventDetector(LABELS, make_spec(), STEP_S)
    both = np.ones(len(LABELS), np.float32)
    assert timeline(detector.push(both, STEP_S)) == [("start", "Speech", 1), ("start", "Dog", 1)]
    others = EventSpec(thresholds={"Siren": threshold(), "Dog": threshold(0.9, 0.5)})
    assert timeline(detector.change(others, STEP_S)) == [("end", "Speech", 1)]
    assert timeline(detector.push(both, 2 * STEP_S)) == [("start", "Siren", 2)]
    assert detector.push(both * np.float32(0.55), 3 * STEP_S) == []
    quiet = both * np.float32(0.1)
    ended = timeline(detector.push(quiet, 4 * STEP_S))
    assert ended == [("end", "Siren", 4), ("end", "Dog", 4)]


BROKEN = [math.nan, math.inf, -math.inf, 3e38, -3e38]


@pytest.mark.parametrize("smoothing_s", [0.0, 0.1])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_score_that_is_no_probability_spoils_no_step_after_it(
    broken: float, smoothing_s: float
) -> None:
    """It counts as the nearer of 0 and 1, and NaN as 0."""
    spec = make_spec(smoothing_s=smoothing_s, min_off_s=0.16)
    scores = [0.9] * 6 + [broken] + [0.9] * 6 + [broken] * 5 + [0.1] * 20 + [0.9] * 20
    counts_as = 1.0 if broken > 0 else 0.0
    clean = [counts_as if score == broken or math.isnan(score) else score for score in scores]
    events = run(spec, speech(*scores))
    assert events == run(spec, speech(*clean))
    assert [event.kind for event in events] == ["start", "end"] * 2


@settings(max_examples=100, deadline=None)
@given(
    rows=scores_rows,
    smoothing_s=durations_s,
    min_on_s=durations_s,
    min_off_s=durations_s,
    when=st.integers(0, 60),
)
def test_to_be_explained_changes_no_event(
    rows: list[list[float]], smoothing_s: float, min_on_s: float, min_off_s: float, when: int
) -> None:
    spec = make_spec(smoothing_s=smoothing_s, min_on_s=min_on_s, min_off_s=min_off_s)
    others = {"Siren": threshold(), "Dog": threshold(0.7, 0.5)}
    changed = msgspec.structs.replace(spec, thresholds=others)
    plain, told = (EventDetector(LABELS, spec, STEP_S, x) for x in ((), ("Siren", "Speech")))
    for i, row in enumerate(np.array(rows, np.float32).reshape(-1, 4), 1):
        if i == when:
            assert told.change(changed, (i - 1) * STEP_S) == plain.change(changed, (i - 1) * STEP_S)
        assert told.push(row, i * STEP_S) == plain.push(row, i * STEP_S)
    assert told.flush(9.0) == plain.flush(9.0)


@pytest.mark.parametrize("smoothing_s", [0.0, 0.16, 1.0])
def test_the_state_says_what_the_next_event_will_be(smoothing_s: float) -> None:
    """An event comes in the step in which `beyond_s` would reach `wait_s`, and the state knows of
    it; of labels that are explained alone there is none."""
    walk = np.random.default_rng(3).normal(0, 0.12, (4000, 4)).cumsum(0) % 1.4
    spec = make_spec(smoothing_s=smoothing_s, min_on_s=0.16, min_off_s=0.4)
    detector = EventDetector(LABELS, spec, STEP_S, ("Siren",))
    is_active, n_events = False, 0
    for i, row in enumerate(np.abs(0.7 - walk).astype(np.float32), 1):
        before = detector.state("Speech")
        own = [x for x in detector.push(row, i * STEP_S) if x.label == "Speech"]
        state = detector.state("Speech")
        if own:
            n_events += 1
            is_active = own[-1].kind == "start"
            assert before.beyond_s + STEP_S == pytest.approx(before.wait_s)
            assert state.beyond_s == 0.0
        assert state.is_active == is_active
        assert state.limit == pytest.approx(0.3 if is_active else 0.5)
        assert state.wait_s == (0.4 if is_active else 0.16)
        assert 0.0 <= state.beyond_s < state.wait_s
        if (state.smoothed >= state.limit) == is_active:
            assert state.beyond_s == 0.0
    assert n_events > 10
    assert detector.state("Siren").threshold is None
    assert detector.state("Siren").limit == math.inf
