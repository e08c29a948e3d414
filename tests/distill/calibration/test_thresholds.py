"""Thresholds: they keep the promised budget, or they are not given."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.calibration.clip_evidence import ClipEvidence
from distill.calibration.scenes import LATENESS_S, Fold, SceneScores
from distill.calibration.sweeps import Sweep, sweep
from distill.calibration.thresholds import (
    N_THRESHOLDS,
    CalibrationConfig,
    candidates,
    choose_events,
    choose_pairs,
    choose_thresholds,
    clip_shares,
    count_recordings,
    events_without,
    frequent_labels,
)
from distill.data.companions import Companions
from distill.mixing.soundscapes import Sound, TrueEvent
from distill.scoring.streams import ScoreTrack, find_segments
from edge_audio.bundle.spec import SENSITIVITIES, Threshold
from edge_audio.errors import UsageError
from edge_audio.events.suggestion import HYSTERESIS

CONFIG = CalibrationConfig(max_alarms_per_hour=0.1, min_on_s=0.08)
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


def joined(*labels: Sweep) -> Sweep:
    """The sweep of several labels, each of which has one of its own."""
    return Sweep(
        points=POINTS,
        found=np.concatenate([one.found for one in labels]),
        n_events=np.concatenate([one.n_events for one in labels]),
        alarms=np.concatenate([one.alarms for one in labels]),
        hours=np.concatenate([one.hours for one in labels]),
    )


def chosen(
    sweeps: list[Sweep], n_recordings: int = 7, alarms_per_hour: float = 0.1
) -> Threshold | None:
    """The threshold of the one label, which has no nearby ones."""
    counts = {"Siren": n_recordings}
    config = msgspec.structs.replace(CONFIG, max_alarms_per_hour=alarms_per_hour)
    pair = choose_pairs(config, counts, sweeps)["normal"]
    return choose_thresholds(config, counts, sweeps, pair).get("Siren")


def test_threshold_is_the_lowest_that_keeps_the_budget() -> None:
    threshold = chosen([one_label(0.4, 9, 0.9)] * 4)
    assert threshold is not None
    assert threshold.on == pytest.approx(POINTS[POINTS >= 0.4][0], abs=1e-4)
    assert (threshold.alarms_per_hour, threshold.recall) == (0.0, 1.0)
    assert (threshold.negative_h, threshold.n_positives) == (40.0, 7)
    assert threshold.off < threshold.on


def test_one_alarm_less_than_the_budget_is_allowed() -> None:
    within, beyond = (chosen([one_label(0.4, n, 0.9, hours=15.0)] * 2) for n in (1, 2))
    assert within is not None
    assert within.on == pytest.approx(POINTS[0], abs=1e-4), "2 alarms of the 3 that 30 hours allow"
    assert beyond is not None
    assert beyond.on >= 0.4


def test_figures_are_those_of_the_sweep_that_was_left_out() -> None:
    """One fold in four has alarms up to a higher score: the others do not foresee it."""
    threshold = chosen([one_label(0.3, 9, 0.9)] * 3 + [one_label(0.6, 4, 0.9)])
    assert threshold is not None
    assert threshold.on > 0.6, "all that is known counts"
    assert threshold.alarms_per_hour == pytest.approx(4 / 40.0)


def test_a_label_that_finds_too_little_within_the_budget_stays_off() -> None:
    assert chosen([one_label(0.9, 9, 0.5)] * 4) is None
    assert chosen([one_label(1.0, 9, 1.0)] * 4) is None


def test_without_events_or_hours_there_is_no_threshold() -> None:
    nothing = one_label(0.4, 9, 0.9)._replace(n_events=np.array([0]))
    assert chosen([nothing] * 4) is None
    always = one_label(0.4, 9, 0.9)._replace(hours=np.array([0.0]))
    assert chosen([always] * 4) is None


def test_every_sensitivity_keeps_its_own_rate_and_reasons_are_named() -> None:
    """20 alarms in 40 hours below 0.4, and 120 in all below 0.2."""
    both = one_label(0.4, 5, 0.9)
    both = both._replace(alarms=both.alarms + one_label(0.2, 25, 0.9).alarms)
    always = one_label(1.0, 900, 0.9)
    deaf = one_label(0.0, 0, 0.0)
    three = [joined(both, always, deaf)] * 4
    config = CalibrationConfig()
    counts = {"Siren": 7, "Rain": 7, "Cat": 7}
    spec = choose_events(config, 0.08, counts, three, choose_pairs(config, counts, three))
    ons = {x: spec.at_sensitivity(x).thresholds["Siren"].on for x in SENSITIVITIES}
    assert ons["quiet"] == pytest.approx(POINTS[POINTS >= 0.4][0], abs=1e-4), "0.5 an hour"
    assert ons["normal"] == pytest.approx(POINTS[POINTS >= 0.2][0], abs=1e-4), "3 an hour"
    assert ons["eager"] == pytest.approx(POINTS[0], abs=1e-4)
    assert spec.off == {"Rain": "too many false alarms", "Cat": "rarely found"}
    assert [config.alarms_per_hour(x) for x in SENSITIVITIES] == pytest.approx([0.1, 1.0, 5.0])


def heard(*peaks: float, fits: str) -> ClipEvidence:
    """Clips of one label, in four folds by turns; y in `fits` where it is right."""
    n = len(peaks)
    return ClipEvidence(
        peaks=np.array(peaks, np.float32)[:, None],
        fits=np.array([x == "y" for x in fits])[:, None],
        folds=np.arange(n) % 4,
        weights=np.ones(n),
    )


def test_single_clips_raise_a_threshold_above_what_the_rate_asks_for() -> None:
    """Half of the clips are wrong below 0.6, in hours without a false alarm."""
    sweeps = [one_label(0.1, 9, 0.9)] * 4
    wrong = heard(*[0.59] * 20, *[0.8] * 20, fits="n" * 20 + "y" * 20)
    counts = {"Siren": 7}
    by_rate = choose_pairs(CONFIG, counts, sweeps)["normal"]
    pairs = choose_pairs(CONFIG, counts, sweeps, wrong)
    assert POINTS[by_rate[0][0]] < 0.2
    assert 0.59 < POINTS[pairs["normal"][0][0]] < 0.8
    on = choose_thresholds(CONFIG, counts, sweeps, pairs["normal"], wrong)
    assert clip_shares(counts, sweeps, wrong, pairs["normal"][1], on) == (0.5, 0.0)
    assert clip_shares(counts, sweeps, wrong, pairs["normal"][1], ()) == (0.0, 0.0)


def test_rates_are_kept_whatever_clips_say_and_no_sensitivity_is_below_an_eager_one() -> None:
    sweeps = [one_label(0.5, 900, 0.9)] * 4
    right = heard(*np.linspace(0.1, 0.9, 40), fits="y" * 40)
    pairs = choose_pairs(CONFIG, {"Siren": 7}, sweeps, right)
    ons = [POINTS[pairs[x][0][0]] for x in SENSITIVITIES]
    assert min(ons) >= 0.5
    assert ons == sorted(ons, reverse=True)


def test_a_label_that_is_found_in_clips_is_on_though_scenes_hide_it() -> None:
    sweeps = [one_label(0.1, 9, 0.0)] * 4
    right = heard(*[0.8] * 40, fits="y" * 40)
    pair = choose_pairs(CONFIG, {"Siren": 7}, sweeps, right)["normal"]
    assert choose_thresholds(CONFIG, {"Siren": 7}, sweeps, pair, right)["Siren"].recall == 0.0
    assert not choose_thresholds(CONFIG, {"Siren": 7}, sweeps, pair)


def test_labels_need_recordings_enough_and_clips_of_one_recording_count_once() -> None:
    def sounds(label: str, recordings: str) -> list[Sound]:
        return [Sound(np.ones(8, np.float32), (label,), x) for x in recordings]

    cats, dogs, owls = sounds("Cat", "abb"), sounds("Dog", "ccc"), sounds("Owl", "z")
    folds = [Fold([*cats, *dogs], cats), Fold(owls, dogs)]
    assert count_recordings(("Cat", "Dog", "Owl", "Cow"), folds) == {"Cat": 2, "Dog": 1, "Owl": 0}
    assert frequent_labels(CONFIG, ("Cat", "Dog", "Siren"), folds) == {"Cat": 2}
    with pytest.raises(UsageError, match="no label has 2 recordings"):
        frequent_labels(CONFIG, ("Dog", "Siren"), folds)


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
    plain = events_without(CONFIG, STEP_S)
    swept = sweep(candidates(CONFIG), plain, STEP_S, LABELS, scored, COMPANY)
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
            starts = [x for x in swept.starts if (x.row, x.column) == (row, column)]
            assert [x.seen_s for x in starts] == alarms_s
    np.testing.assert_array_equal(swept.n_events, [2, 1])
    np.testing.assert_allclose(swept.hours, [17.0 / 3600.0, 20.0 / 3600.0])


@pytest.mark.parametrize(("step_s", "min_on_s"), [(0.08, 0.08), (0.04, 0.08), (0.4875, 0.0)])
def test_min_on_is_counted_in_whole_steps(step_s: float, min_on_s: float) -> None:
    spec = events_without(CONFIG, step_s)
    assert spec.min_on_s == pytest.approx(min_on_s)
    assert (spec.smoothing_s, spec.min_off_s) == (CONFIG.smoothing_s, CONFIG.min_off_s)
