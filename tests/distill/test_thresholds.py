"""Thresholds: they keep the promised precision, or they are not given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize.calibrate import CalibrationConfig, choose_threshold

CONFIG = CalibrationConfig()


def test_separable_scores_give_full_recall_and_a_threshold_in_the_gap() -> None:
    peaks = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.2, 0.1, 0.05], np.float32)
    is_positive = np.arange(8) < 5
    config = CalibrationConfig(min_precision=0.9)
    threshold = choose_threshold(config, peaks, is_positive)
    assert threshold is not None
    assert 0.2 < threshold.on < 0.55
    assert (threshold.precision, threshold.recall, threshold.n_positives) == (1.0, 1.0, 5)
    assert threshold.off < threshold.on


def test_no_threshold_is_below_the_minimum() -> None:
    peaks = np.r_[np.full(6, 0.06), np.full(50, 0.001)].astype(np.float32)
    threshold = choose_threshold(CONFIG, peaks, np.arange(56) < 6)
    assert threshold is not None
    assert CONFIG.min_on <= threshold.on <= 0.06


def test_too_few_positives_leave_a_label_off() -> None:
    peaks = np.linspace(0.9, 0.1, 20, dtype=np.float32)
    assert choose_threshold(CONFIG, peaks, np.arange(20) < CONFIG.min_positives - 1) is None


def test_a_label_that_cannot_be_told_apart_stays_off() -> None:
    rng = np.random.default_rng(0)
    peaks = rng.random(400).astype(np.float32)
    assert choose_threshold(CONFIG, peaks, rng.random(400) < 0.05) is None


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0), st.integers(5, 40))
def test_stated_precision_and_recall_hold_at_the_threshold(
    seed: int, separation: float, n_positives: int
) -> None:
    rng = np.random.default_rng(seed)
    is_positive = np.arange(200) < n_positives
    logits = rng.normal(0.0, 1.0, 200) + separation * is_positive
    peaks = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
    threshold = choose_threshold(CONFIG, peaks, is_positive)
    if threshold is None:
        return
    fired = peaks >= np.float32(threshold.on)
    assert is_positive[fired].mean() >= CONFIG.min_precision
    assert is_positive[fired].mean() == pytest.approx(threshold.precision, abs=1e-3)
    assert fired[is_positive].mean() == pytest.approx(threshold.recall, abs=1e-3)
