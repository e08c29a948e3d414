"""Figures agree with their definitions and cannot be had for nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from distill.metrics import (
    MIN_POSITIVES,
    average_precision,
    cross_validate,
    hit_at,
    weighted_average_precision,
    wilson,
)


def test_wilson_interval_agrees_with_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263 and 15 of 148
    for n_right, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)]:
        found = wilson(n_right, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
        assert found.value == n_right / n


@pytest.mark.parametrize("n_right", [0, 20])
def test_wilson_interval_is_open_at_the_ends_of_the_scale(n_right: int) -> None:
    found = wilson(n_right, 20)
    assert 0.0 <= found.low < found.high <= 1.0


def test_hits_count_clips_with_any_listed_label_among_the_highest() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.2, 0.1, 0.9]])
    listed = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 1]], bool)
    assert [hit_at(k, scores, listed).value for k in (1, 2, 3)] == [0.5, 0.75, 1.0]


def test_constant_scores_hit_nothing() -> None:
    listed = np.eye(6, dtype=bool)
    assert hit_at(5, np.zeros((6, 6)), listed).value == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_resampled_average_precision_equals_that_of_repeated_clips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.random(60), rng.random(60) < 0.3
    counts = rng.integers(0, 4, size=(5, 60))
    found = weighted_average_precision(scores, positive, counts.astype(float))
    for value, row in zip(found, counts, strict=True):
        expected = average_precision_score(np.repeat(positive, row), np.repeat(scores, row))
        assert value == pytest.approx(expected, abs=1e-12)


def noisy_scores(rng: np.random.Generator, listed: np.ndarray) -> np.ndarray:
    return listed + rng.normal(0.0, 0.7, listed.shape)


def test_mean_covers_classes_with_enough_positives_only() -> None:
    rng = np.random.default_rng(0)
    listed = np.zeros((100, 3), bool)
    listed[:40, 0], listed[:MIN_POSITIVES, 1], listed[: MIN_POSITIVES - 1, 2] = True, True, True
    scores = noisy_scores(rng, listed)
    found = average_precision(scores, listed, ["a", "b", "c"], [str(i) for i in range(100)], 0)
    expected = {n: average_precision_score(listed[:, i], scores[:, i]) for i, n in enumerate("ab")}
    assert found.classes == pytest.approx(expected)
    assert found.mean.n == 2
    assert found.mean.value == pytest.approx(np.mean(list(expected.values())))
    assert found.mean.low < found.mean.value < found.mean.high


def test_interval_is_repeatable_and_wider_when_clips_share_recordings() -> None:
    rng = np.random.default_rng(1)
    listed = np.repeat(rng.random((40, 2)) < 0.5, 10, axis=0)
    scores = np.repeat(noisy_scores(rng, listed[::10]), 10, axis=0)
    alone = [str(index) for index in range(400)]
    shared = [str(index // 10) for index in range(400)]
    wide = average_precision(scores, listed, ["a", "b"], shared, 0).mean
    narrow = average_precision(scores, listed, ["a", "b"], alone, 0).mean
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide == average_precision(scores, listed, ["a", "b"], shared, 0).mean


def test_no_class_with_enough_positives_gives_no_figure() -> None:
    listed = np.eye(5, dtype=bool)
    found = average_precision(listed * 1.0, listed, list("abcde"), list("abcde"), 0)
    assert found.mean.n == 0
    assert math.isnan(found.mean.value)
    assert not found.classes


def folds_and_classes(n: int = 400) -> tuple[list[int], list[str]]:
    return [1 + index % 5 for index in range(n)], [f"class {index // 5 % 8}" for index in range(n)]


def test_cross_validation_finds_separable_classes() -> None:
    folds, classes = folds_and_classes()
    rng = np.random.default_rng(2)
    centres = rng.normal(0.0, 1e3, (8, 20))  # badly scaled: standardising has to help
    features = centres[[int(name[-1]) for name in classes]] + rng.normal(0.0, 1.0, (400, 20))
    found = cross_validate(features, classes, folds)
    assert found.mean.value == 1.0
    assert found.folds == (1.0,) * 5


def test_cross_validation_of_noise_stays_at_chance() -> None:
    """More features than clips: the fit is perfect, so a fold that leaked would show."""
    folds, classes = folds_and_classes()
    features = np.random.default_rng(3).normal(0.0, 1.0, (400, 500))
    found = cross_validate(features, classes, folds)
    assert 0.04 < found.mean.value < 0.25
    assert np.mean(found.folds) == pytest.approx(found.mean.value)
    assert found.mean.n == 400
