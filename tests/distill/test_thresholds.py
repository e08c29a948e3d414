"""Thresholds: they keep the promised precision, or they are not given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data import Clip
from distill.listeners import ScoreStream, detect
from distill.thresholds import CalibrationConfig, calibrate, choose_threshold, peak_scores
from edge_audio.events import HYSTERESIS
from edge_audio.spec import EventSpec, Threshold

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


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.04, 0.08, 0.4875]), st.integers(1, 60))
def test_peak_is_the_highest_threshold_that_starts_an_event(
    seed: int, step_s: float, n_steps: int
) -> None:
    scores = np.random.default_rng(seed).random((n_steps, 1)).astype(np.float32) ** 2
    min_on_s = round(CONFIG.min_on_s / step_s) * step_s
    if n_steps <= round(min_on_s / step_s):
        return
    (peak,) = peak_scores(CONFIG, scores, step_s).tolist()
    stream = ScoreStream(step_s * np.arange(1, n_steps + 1), scores)

    def starts(on: float) -> bool:
        threshold = Threshold(on=on, off=HYSTERESIS * on, precision=1.0, recall=1.0, n_positives=5)
        spec = EventSpec(
            smoothing_s=CONFIG.smoothing_s, min_on_s=min_on_s, thresholds={"Dog": threshold}
        )
        return bool(detect(stream, ("Dog",), spec, step_s))

    assert starts(max(peak * 0.999, 1e-9))
    assert not starts(min(peak * 1.001, 1.0))


class Loudness:
    """Takes loud sounds for dogs; the rest of its scores is low."""

    name, labels, lag_s = "loudness", ("Dog", "Cat"), 0.0

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    def stream(self, samples: np.ndarray) -> ScoreStream:
        n = round(self.step_s * 16_000)
        frames = np.abs(samples[: len(samples) // n * n].reshape(-1, n)).max(1)
        times_s = self.step_s * np.arange(1, len(frames) + 1)
        return ScoreStream(times_s, np.stack([frames, 0.1 * frames], 1).astype(np.float32))


def clip(label: str) -> Clip:
    return Clip(
        path="", tier="A", labels=(label,), esc10_class="", esc50_class="", fold=1, group="g",
        duration_s=2.0, licence="CC0",
    )  # fmt: skip


@pytest.mark.parametrize(("step_s", "min_on_s"), [(0.08, 0.08), (0.04, 0.08), (0.4875, 0.0)])
def test_calibration_streams_clips_and_counts_min_on_in_whole_steps(
    step_s: float, min_on_s: float
) -> None:
    clips = [clip("Dog")] * 6 + [clip("Cat")] * 6
    samples = [np.full(32_000, level, np.float32) for level in (0.9,) * 6 + (0.2,) * 6]
    config = CalibrationConfig(min_precision=0.9)
    spec = calibrate(config, Loudness(step_s), samples, clips)
    assert set(spec.thresholds) == {"Dog"}
    assert 0.2 < spec.thresholds["Dog"].on < 0.9
    assert spec.min_on_s == pytest.approx(min_on_s)
    assert (spec.smoothing_s, spec.min_off_s) == (config.smoothing_s, config.min_off_s)
