"""Thresholds of all labels together: a budget of wrong clips, spent where it brings right ones."""

import numpy as np
import pytest

from distill.calibration.clip_evidence import ClipEvidence, hear_folds
from distill.calibration.prices import choose_by_price, shares_left_out, spend, stricter
from distill.calibration.scenes import Fold
from distill.mixing.soundscapes import Sound
from distill.scoring.streams import ScoreTrack, find_segments
from edge_audio.bundle.spec import EventSpec, Threshold

POINTS = np.linspace(0.05, 0.95, 19)


def evidence(peaks: np.ndarray, fits: np.ndarray) -> ClipEvidence:
    n = len(peaks)
    return ClipEvidence(peaks.astype(np.float32), fits, np.arange(n) % 4, np.ones(n))


def shy_and_bold(seed: int = 0) -> ClipEvidence:
    """Column 0 is right from 0.2 on, column 1 wrong up to 0.7; 100 clips of each, 50 of neither."""
    rng = np.random.default_rng(seed)
    peaks, fits = np.zeros((250, 2)), np.zeros((250, 2), bool)
    peaks[:100, 0], fits[:100, 0] = rng.uniform(0.2, 0.6, 100), True
    peaks[:100, 1] = rng.uniform(0.3, 0.7, 100)
    peaks[100:200, 1], fits[100:200, 1] = rng.uniform(0.5, 0.95, 100), True
    peaks[:, 0] = np.maximum(peaks[:, 0], rng.uniform(0.0, 0.15, 250))
    return evidence(peaks, fits)


def test_a_shy_label_gets_a_lower_threshold_than_a_bold_one() -> None:
    shy, bold = spend(POINTS, shy_and_bold(), (0, 0), 2.0)
    assert shy is not None
    assert bold is not None
    assert 0.15 <= POINTS[shy] <= 0.25
    assert 0.65 <= POINTS[bold] <= 0.75


def test_a_label_with_two_clips_stays_near_the_common_threshold() -> None:
    many = shy_and_bold()
    peaks = np.column_stack([many.peaks, np.full(250, 0.01)])
    fits = np.column_stack([many.fits, np.zeros(250, bool)])
    peaks[248:, 2], fits[248:, 2] = 0.06, True
    few = evidence(peaks, fits)
    columns = spend(POINTS, few, (0, 0, 0), 2.0)
    alone = spend(POINTS, few.rows(few.fits[:, 2]), (0, 0, 0), 2.0)
    assert POINTS[columns[2]] > 0.1, "two recordings are worth no such distance"
    assert POINTS[alone[2]] <= 0.06, "where they are all there is, they say it"


def test_a_second_wrong_event_of_a_clip_costs_nothing() -> None:
    """Where another label is wrong already, one that is right may as well be reported."""
    peaks = np.tile([[0.9, 0.5]], (40, 1))
    fits = np.tile([[False, True]], (40, 1))
    peaks[20:], fits[20:] = [0.9, 0.0], [True, False]
    column = spend(POINTS, evidence(peaks, fits), (0, 0), 0.5)[1]
    assert column is not None
    assert POINTS[column] <= 0.5


def test_the_share_of_wrong_clips_is_kept_by_what_others_bring() -> None:
    found = shy_and_bold(1)
    lowest = ([0, 0], [[0, 0]] * 4)
    before = 1.0
    for max_wrong in (0.3, 0.1, 0.02):
        columns, left_out = choose_by_price(POINTS, found, lowest, max_wrong)
        shares = shares_left_out(POINTS, found, left_out)
        assert shares.wrong <= max_wrong
        assert shares.right <= before
        before = shares.right
        assert all(column is not None for column in columns)
    assert before > 0.5


def test_no_threshold_is_below_its_lowest_and_none_stays_off() -> None:
    columns = spend(POINTS, shy_and_bold(), (12, None), 2.0)
    assert columns[0] is not None
    assert columns[0] >= 12
    assert columns[1] is None
    assert stricter([1, None, 5], [3, 2, None]) == [3, None, None]


class Ramp:
    """Scores that rise with the samples: one per sample."""

    name = "ramp"
    labels: tuple[str, ...] = ("Dog", "Rain")
    step_s, lag_s = 0.08, 0.0

    def track(self, samples: np.ndarray) -> ScoreTrack:
        times_s = self.step_s * np.arange(1, len(samples) + 1, dtype=np.float64)
        return ScoreTrack(times_s, np.stack([samples, 1 - samples], 1).astype(np.float32))


@pytest.mark.parametrize("attack_s", [0.0, 0.3])
def test_a_peak_is_the_highest_threshold_at_which_the_detector_reports(attack_s: float) -> None:
    spec = EventSpec(smoothing_s=0.3, attack_s=attack_s)
    samples = np.random.default_rng(3).uniform(0.0, 1.0, 60).astype(np.float32)
    sounds = [Sound(samples, ("Bark",), "a"), Sound(samples[:30], ("Siren",), "a")]
    found = hear_folds(Ramp(), ("Rain", "Dog"), [Fold(sounds, []), Fold(sounds[:1], [])], spec)
    assert found.fits.tolist() == [[False, True], [False, False], [False, True]]
    assert found.folds.tolist() == [0, 0, 1]
    assert found.weights == pytest.approx([3**-0.5] * 3)
    for column, label in enumerate(("Rain", "Dog")):
        peak = float(found.peaks[0, column])
        for on, n_expected in ((peak - 1e-4, True), (peak + 1e-4, False)):
            watched = {label: Threshold(on=on, off=0.5 * on)}
            of = EventSpec(smoothing_s=0.3, attack_s=attack_s, thresholds=watched)
            assert bool(find_segments(Ramp().track(samples), Ramp().labels, of, 0.08)) == n_expected
