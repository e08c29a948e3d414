"""Figures agree with their definitions and cannot be had for nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    roc_auc_score,
)

from distill.evaluation.metrics import (
    MIN_POSITIVES,
    RECALLS,
    agreement,
    average_precision,
    cross_validate,
    d_prime,
    hit_at,
    lwlrap,
    precision_at_recalls,
    reliability,
    weighted_average_precision,
    weighted_roc_area,
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


def test_wilson_interval_is_that_of_its_formula() -> None:
    z2 = 1.959964**2
    for n_right, n in [(0, 1), (1, 1), (7, 36), (200, 400), (1117, 1118)]:
        share = n_right / n
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        spread = z2 * (share * (1 - share) / n + z2 / (4 * n * n))
        half = spread**0.5 / (1 + z2 / n)
        found = wilson(n_right, n)
        assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-7)


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


def test_interval_ignores_resamples_that_miss_a_class() -> None:
    """All clips of a class from one recording: every third resample has none of them."""
    listed = np.zeros((60, 1), bool)
    listed[:12] = True
    scores = listed + np.random.default_rng(0).normal(0.0, 0.01, listed.shape)
    groups = ["one"] * 12 + names(48)
    found = average_precision(scores, listed, ["a"], groups, 0).mean
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)
    missed = np.isnan(weighted_roc_area(scores[:, 0], listed[:, 0], np.zeros((1, 60))))
    assert missed.all()


def test_no_class_with_enough_positives_gives_no_figure() -> None:
    listed = np.eye(5, dtype=bool)
    found = average_precision(listed * 1.0, listed, list("abcde"), list("abcde"), 0)
    assert found.mean.n == 0
    assert math.isnan(found.mean.value)
    assert not found.classes


def names(n: int) -> list[str]:
    return [str(index) for index in range(n)]


@pytest.mark.parametrize("seed", range(4))
def test_resampled_roc_area_equals_that_of_repeated_clips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, 12, 60) / 12.0, rng.random(60) < 0.3  # with ties
    counts = rng.integers(0, 4, size=(5, 60))
    found = weighted_roc_area(scores, positive, counts.astype(float))
    for value, row in zip(found, counts, strict=True):
        expected = roc_auc_score(np.repeat(positive, row), np.repeat(scores, row))
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("separation", [0.0, 1.0, 2.5])
def test_d_prime_is_the_distance_of_two_normal_distributions(separation: float) -> None:
    rng = np.random.default_rng(0)
    listed = rng.random((20_000, 2)) < 0.5
    scores = rng.normal(0.0, 1.0, listed.shape) + separation * listed
    found = d_prime(scores, listed, names(20_000), seed=0)
    assert found.value == pytest.approx(separation, abs=0.05)
    assert found.low < found.value < found.high
    assert found.n == 2


def test_d_prime_leaves_out_classes_with_few_clips() -> None:
    rng = np.random.default_rng(0)
    listed = np.zeros((100, 2), bool)
    listed[:40, 0], listed[: MIN_POSITIVES - 1, 1] = True, True
    scores = rng.random((100, 2))
    assert d_prime(scores, listed, names(100), 0).n == 1
    assert math.isnan(d_prime(scores, listed[:, 1:], names(100), 0).value)


def lwlrap_ref(scores: np.ndarray, listed: np.ndarray) -> float:
    """As the docstring of lwlrap says it."""
    precision = [
        (row[mine] >= score).sum() / (row >= score).sum()
        for row, mine in zip(scores, listed, strict=True)
        for score in row[mine]
    ]
    return float(np.mean(precision))


def test_lwlrap_is_the_ranking_precision_weighted_by_labels() -> None:
    rng = np.random.default_rng(0)
    listed = rng.random((80, 12)) < 0.2
    listed[3] = False  # a clip that counts for nothing
    scores = np.round(rng.random((80, 12)) + 0.3 * listed, 1)  # with ties
    found = lwlrap(scores, listed, names(80), 0)
    assert found.value == pytest.approx(lwlrap_ref(scores, listed), rel=1e-12)
    assert found.low < found.value < found.high
    assert found.n == listed.sum()


def test_lwlrap_of_a_clip_by_hand() -> None:
    listed = np.array([[1, 0, 1, 0]], bool)
    # ranks 1 and 3: precision 1 / 1 and 2 / 3
    assert lwlrap(np.array([[0.9, 0.8, 0.7, 0.1]]), listed, ["g"], 0).value == pytest.approx(5 / 6)


def test_agreement_sees_ranks_only() -> None:
    rng = np.random.default_rng(0)
    taught = rng.normal(size=(50, 30))
    same = agreement("teacher", np.exp(taught), taught, names(50), 0)
    assert (same.top1.value, same.rank_correlation.value) == pytest.approx((1.0, 1.0))
    opposite = agreement("teacher", -taught, taught, names(50), 0)
    assert (opposite.top1.value, opposite.rank_correlation.value) == pytest.approx((0.0, -1.0))
    unrelated = agreement("teacher", rng.normal(size=(50, 30)), taught, names(50), 0)
    assert unrelated.rank_correlation.low < 0.0 < unrelated.rank_correlation.high


def test_precision_is_the_highest_that_reaches_the_recall() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    positive = np.array([1, 0, 1, 1, 0], bool)  # precision 1, 1/2, 2/3, 3/4, 3/5
    found = dict(zip(RECALLS, precision_at_recalls(scores, positive), strict=True))
    assert found[0.3] == 1.0
    assert found[0.35] == found[1.0] == 0.75


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
    assert found.confusion == {name: {name: 50} for name in sorted(set(classes))}


def test_cross_validation_of_noise_stays_at_chance() -> None:
    """More features than clips: the fit is perfect, so a fold that leaked would show."""
    folds, classes = folds_and_classes()
    features = np.random.default_rng(3).normal(0.0, 1.0, (400, 500))
    found = cross_validate(features, classes, folds)
    assert 0.04 < found.mean.value < 0.25
    assert np.mean(found.folds) == pytest.approx(found.mean.value)
    assert found.mean.n == 400
    assert {name: sum(row.values()) for name, row in found.confusion.items()} == {
        f"class {index}": 50 for index in range(8)
    }
    n_right = sum(row.get(name, 0) for name, row in found.confusion.items())
    assert n_right == round(400 * found.mean.value)


def test_scores_that_are_right_as_often_as_they_say_have_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.0, 1.0, (4_000, 20)).astype(np.float32)
    honest = reliability(scores, rng.random(scores.shape) < scores)
    assert honest.error < 0.01
    assert sum(honest.counts) == (scores >= 0.05).sum()
    assert len(honest.scores) == 10
    boastful = reliability(scores, rng.random(scores.shape) < 0.5 * scores)
    expected = 0.5 * scores[scores >= 0.05].mean()
    assert boastful.error == pytest.approx(float(expected), abs=0.01)


def test_small_scores_do_not_make_a_model_look_calibrated() -> None:
    scores = np.full((1_000, 10), 0.01, np.float32)
    scores[:10, 0] = 0.9
    found = reliability(scores, np.zeros(scores.shape, bool))
    assert (found.counts, found.right) == ((10,), (0.0,))
    assert found.error == pytest.approx(0.9, abs=1e-3)
    nothing = reliability(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool))
    assert (nothing.counts, nothing.error) == ((), 0.0)
