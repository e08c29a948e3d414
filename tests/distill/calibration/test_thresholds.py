"""Thresholds: they keep the promised budget, or they are not given."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.calibration.scenes import LATENESS_S, Fold, SceneScores
from distill.calibration.thresholds import (
    N_THRESHOLDS,
    CalibrationConfig,
    Sweep,
    choose_threshold,
    events_without,
    frequent_labels,
    lowest_column,
    sweep,
)
from distill.data.companions import Companions
from distill.mixing.soundscapes import Sound, TrueEvent
from distill.scoring.streams import ScoreTrack, find_segments
from edge_audio.bundle.spec import Threshold
from edge_audio.errors import UsageError
from edge_audio.events.suggestion import HYSTERESIS

CONFIG = CalibrationConfig(max_alarms_per_hour=0.1)
POINTS = np.linspace(0.02, 0.98, N_THRESHOLDS)


def one_label(alarms_below: float, n_alarms: int, found_below: float, hours: float = 10.0) -> Sweep:
    """A label with 10 events that thresholds up to found_below find, and with false alarms of
    those below alarms_below."""
    return Sweep(
        points=POINTS,
        found=10 * (found_below >= POINTS)[None].astype(np.int64),
        n_events=np.array([10]),
        alarms=n_alarms * (alarms_below > POINTS)[None].astype(np.int64),
        hours=np.array([hours]),
    )


def test_threshold_is_the_lowest_that_keeps_the_budget() -> None:
    threshold = choose_threshold(CONFIG, [one_label(0.4, 9, 0.9)] * 4, 0, n_clips=7)
    assert threshold is not None
    assert threshold.on == pytest.approx(POINTS[POINTS >= 0.4][0], abs=1e-4)
    assert (threshold.alarms_per_hour, threshold.recall) == (0.0, 1.0)
    assert (threshold.negative_h, threshold.n_positives) == (40.0, 7)
    assert threshold.off < threshold.on


def test_one_alarm_less_than_the_budget_is_allowed() -> None:
    within, beyond = ([one_label(0.4, n, 0.9, hours=15.0)] * 2 for n in (1, 2))
    assert lowest_column(CONFIG, within, 0) == 0, "2 alarms of the 3 that 30 hours allow"
    column = lowest_column(CONFIG, beyond, 0)
    assert column is not None
    assert POINTS[column] >= 0.4


def test_figures_are_those_of_the_sweep_that_was_left_out() -> None:
    """One fold in four has alarms up to a higher score: the others do not foresee it."""
    sweeps = [one_label(0.3, 9, 0.9)] * 3 + [one_label(0.6, 4, 0.9)]
    threshold = choose_threshold(CONFIG, sweeps, 0, n_clips=7)
    assert threshold is not None
    assert threshold.on > 0.6, "all that is known counts"
    assert threshold.alarms_per_hour == pytest.approx(4 / 40.0)


def test_a_label_that_finds_too_little_within_the_budget_stays_off() -> None:
    assert choose_threshold(CONFIG, [one_label(0.9, 9, 0.5)] * 4, 0, n_clips=7) is None
    assert choose_threshold(CONFIG, [one_label(1.0, 9, 1.0)] * 4, 0, n_clips=7) is None


def test_without_events_or_hours_there_is_no_threshold() -> None:
    nothing = one_label(0.4, 9, 0.9)._replace(n_events=np.array([0]))
    assert choose_threshold(CONFIG, [nothing] * 4, 0, n_clips=7) is None
    always = one_label(0.4, 9, 0.9)._replace(hours=np.array([0.0]))
    assert choose_threshold(CONFIG, [always] * 4, 0, n_clips=7) is None


def test_labels_need_clips_enough() -> None:
    dog, cat = (Sound(np.ones(8, np.float32), (label,)) for label in ("Dog", "Cat"))
    folds = [Fold([], [dog, dog, dog, cat]), Fold([cat] * 9, [dog, dog, cat, cat, cat])]
    assert frequent_labels(CONFIG, ("Cat", "Dog", "Siren"), folds) == {"Dog": 5}
    with pytest.raises(UsageError, match="no label has 5 clips"):
        frequent_labels(CONFIG, ("Cat", "Siren"), folds)


def test_two_folds_are_too_few() -> None:
    with pytest.raises(ValueError, match="at least 3 folds"):
        CalibrationConfig(n_folds=2)


STEP_S = 0.08
LABELS = ("Dog", "Cat")
COMPANY: Companions = {"Dog": frozenset({"Dog", "Bark"}), "Cat": frozenset({"Cat"})}
SOUNDS = [TrueEvent("Bark", 2.0, 4.0), TrueEvent("Siren", 10.0, 12.0)]
EVENTS = [TrueEvent("Dog", 1.0, 2.0), TrueEvent("Dog", 6.0, 7.0), TrueEvent("Cat", 3.0, 5.0)]


def random_stream(seed: int) -> ScoreTrack:
    """20 s of scores that come and go."""
    rng = np.random.default_rng(seed)
    logits = np.cumsum(rng.normal(0.0, 0.8, (250, len(LABELS))), axis=0)
    scores = 1.0 / (1.0 + np.exp(-logits))
    return ScoreTrack(STEP_S * np.arange(1, 251, dtype=np.float64), scores.astype(np.float32))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_sweep_counts_what_the_event_detector_reports(seed: int) -> None:
    stream, quiet = random_stream(seed), random_stream(seed + 1)
    scored = SceneScores([EVENTS], [stream], [SOUNDS], [quiet])
    swept = sweep(CONFIG, STEP_S, LABELS, scored, COMPANY)
    plain = events_without(CONFIG, STEP_S)
    for row, label in enumerate(LABELS):
        for column in range(0, N_THRESHOLDS, 7):
            on = float(swept.points[column])
            thresholds = {label: Threshold(on=on, off=HYSTERESIS * on)}
            spec = msgspec.structs.replace(plain, thresholds=thresholds)
            seen_s = [x.seen_s for x in find_segments(stream, LABELS, spec, STEP_S)]
            found = [
                any(e.onset_s <= t <= e.offset_s + LATENESS_S for t in seen_s)
                for e in EVENTS
                if e.label == label
            ]
            assert swept.found[row, column] == sum(found)
            alarms_s = [x.seen_s for x in find_segments(quiet, LABELS, spec, STEP_S)]
            if label == "Dog":  # barks are dogs
                alarms_s = [t for t in alarms_s if not 2.0 <= t <= 4.0 + LATENESS_S]
            assert swept.alarms[row, column] == len(alarms_s)
    np.testing.assert_array_equal(swept.n_events, [2, 1])
    np.testing.assert_allclose(swept.hours, [17.0 / 3600.0, 20.0 / 3600.0])


@pytest.mark.parametrize(("step_s", "min_on_s"), [(0.08, 0.08), (0.04, 0.08), (0.4875, 0.0)])
def test_min_on_is_counted_in_whole_steps(step_s: float, min_on_s: float) -> None:
    spec = events_without(CONFIG, step_s)
    assert spec.min_on_s == pytest.approx(min_on_s)
    assert (spec.smoothing_s, spec.min_off_s) == (CONFIG.smoothing_s, CONFIG.min_off_s)
