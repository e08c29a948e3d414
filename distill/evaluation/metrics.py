"""How good scores and embeddings are, each figure with a 95 % confidence interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    label_ranking_average_precision_score,
    precision_recall_curve,
    roc_auc_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_audio.bundle.spec import Spec

REGRESSION_C = 0.1
"""Inverse L2 strength of every logistic regression: fixed beforehand, tuned on nothing."""

RECALLS = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""Where precision-recall curves are sampled."""

N_BINS = 10
LEAST_CONFIDENCE = 0.05
"""No event starts below; with the scores of all that does not sound, everybody looks calibrated."""

MIN_POSITIVES = 10
N_RESAMPLES = 200

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


class Estimate(Spec, frozen=True):
    """A figure over `n` clips or classes and its 95 % confidence interval."""

    value: float
    low: float
    high: float
    n: int


class FoldAccuracy(Spec, frozen=True):
    """Mean accuracy over the folds, and that of each fold in order. confusion: true class ->
    answer -> number of clips, where that is not 0."""

    mean: Estimate
    folds: tuple[float, ...]
    confusion: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)


class Agreement(Spec, frozen=True):
    """With a teacher, over clips. top1: share with the same highest label. rank_correlation:
    Spearman's, between the scores of all labels of a clip, averaged."""

    teacher: str
    top1: Estimate
    rank_correlation: Estimate


class AveragePrecision(Spec, frozen=True):
    """Mean over the classes, and each class by name."""

    mean: Estimate
    classes: dict[str, float]


def wilson(n_right: int, n: int) -> Estimate:
    """Share of right answers with its score interval (Wilson 1927)."""
    interval = binomtest(n_right, n).proportion_ci(0.95, method="wilson")
    return Estimate(value=n_right / n, low=float(interval.low), high=float(interval.high), n=n)


def hit_at(k: int, scores: FloatArray, listed: BoolArray) -> Estimate:
    """Share of clips with a listed class among the k highest scores [n, C]. Between equal
    scores the classes that are not listed win, so that constant scores hit nothing."""
    is_hit = _is_hit(k, scores, listed)
    return wilson(int(is_hit.sum()), len(scores))


def hit_at_of_groups(
    k: int, scores: FloatArray, listed: BoolArray, groups: Sequence[str], seed: int
) -> Estimate:
    """`hit_at` with an interval that resamples groups, for clips of which many are of one
    recording."""
    is_hit = _is_hit(k, scores, listed)
    weights = resample_groups(groups, seed)
    return basic_interval(float(is_hit.mean()), weights @ is_hit / weights.sum(1), len(scores))


def _is_hit(k: int, scores: FloatArray, listed: BoolArray) -> BoolArray:
    """bool[n]: whether a listed class is among the k highest scores of the clip."""
    best = np.where(listed, scores, -np.inf).max(1, keepdims=True)
    is_among: BoolArray = (~listed & (scores >= best)).sum(1) < k
    return is_among


def average_precision(
    scores: FloatArray,
    listed: BoolArray,
    names: Sequence[str],
    groups: Sequence[str],
    seed: int,
    min_positives: int = MIN_POSITIVES,
) -> AveragePrecision:
    """Over the classes with at least min_positives clips among scores [n, C], listed [n, C].

    The interval resamples groups rather than clips: two clips of a recording are no
    independent evidence. It is the basic (reversed) bootstrap interval, since clips drawn twice
    raise average precision. Without such a class the figures are NaN.
    """
    columns = np.flatnonzero(listed.sum(0) >= min_positives).tolist()
    if not columns:
        nothing = Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
        return AveragePrecision(mean=nothing, classes={})
    values = [float(average_precision_score(listed[:, c], scores[:, c])) for c in columns]
    weights = resample_groups(groups, seed)
    means = _mean_of_drawn(
        [weighted_average_precision(scores[:, c], listed[:, c], weights) for c in columns]
    )
    return AveragePrecision(
        mean=basic_interval(float(np.mean(values)), means, len(columns)),
        classes={names[c]: value for c, value in zip(columns, values, strict=True)},
    )


def precision_at_recalls(scores: FloatArray, positive: BoolArray) -> tuple[float, ...]:
    """The highest precision that reaches each of RECALLS, over scores [n]."""
    precision, recall, _ = precision_recall_curve(positive, scores)
    return tuple(round(float(precision[recall >= least].max()), 4) for least in RECALLS)


class Reliability(Spec, frozen=True):
    """Whether a score of 0.7 is right in seven cases of ten, over scores from LEAST_CONFIDENCE on.

    scores, right, counts: of each bin of equal width that is not empty, the mean score, the share
        that is listed, and how many there are. error: the expected calibration error, the mean
        distance of the first two weighted by the third (Naeini et al. 2015, Obtaining Well
        Calibrated Probabilities Using Bayesian Binning).
    """

    scores: tuple[float, ...]
    right: tuple[float, ...]
    counts: tuple[int, ...]
    error: float


def reliability(scores: FloatArray, listed: BoolArray) -> Reliability:
    """Probabilities [n, C] against whether they are listed, pooled over clips and labels. A clip
    lists not all that sounds in it, so that the truth lies above `right`."""
    chosen = scores >= LEAST_CONFIDENCE
    values, is_right = scores[chosen].astype(np.float64), listed[chosen]
    bins = np.minimum((values * N_BINS).astype(int), N_BINS - 1)
    counts = np.bincount(bins, minlength=N_BINS)
    used = np.flatnonzero(counts)
    means = np.bincount(bins, values, N_BINS)[used] / counts[used]
    shares = np.bincount(bins, is_right, N_BINS)[used] / counts[used]
    weights = counts[used] / max(int(counts.sum()), 1)
    return Reliability(
        scores=tuple(np.round(means, 4).tolist()),
        right=tuple(np.round(shares, 4).tolist()),
        counts=tuple(counts[used].tolist()),
        error=round(float(np.abs(means - shares) @ weights), 4),
    )


def d_prime(scores: FloatArray, listed: BoolArray, groups: Sequence[str], seed: int) -> Estimate:
    """sqrt 2 times the normal quantile of the mean area under the ROC curve, over the classes
    that `average_precision` covers (Hershey et al. 2017)."""
    columns = np.flatnonzero(listed.sum(0) >= MIN_POSITIVES).tolist()
    if not columns:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
    weights = resample_groups(groups, seed)
    area = float(np.mean([roc_auc_score(listed[:, c], scores[:, c]) for c in columns]))
    areas = _mean_of_drawn(
        [weighted_roc_area(scores[:, c], listed[:, c], weights) for c in columns]
    )
    values = math.sqrt(2.0) * norm.ppf(np.clip(np.append(areas, area), 1e-9, 1.0 - 1e-9))
    return basic_interval(float(values[-1]), values[:-1], len(columns), bounds=(-np.inf, np.inf))


def lwlrap(scores: FloatArray, listed: BoolArray, groups: Sequence[str], seed: int) -> Estimate:
    """Label-weighted label-ranking average precision: the precision among the labels that score
    no lower than a listed one, averaged over all listed labels of all clips (Fonseca et al.
    2019, Audio Tagging with Noisy Labels and Minimal Supervision)."""
    n_listed = listed.sum(1)
    means = [
        label_ranking_average_precision_score(listed[[i]], scores[[i]]) for i in range(len(scores))
    ]
    precision_sums = np.array(means) * n_listed
    weights = resample_groups(groups, seed)
    resampled = weights @ precision_sums / np.maximum(weights @ n_listed, 1.0)
    value = float(precision_sums.sum() / n_listed.sum())
    return basic_interval(value, resampled, int(n_listed.sum()))


def agreement(
    teacher: str, scores: FloatArray, taught: FloatArray, groups: Sequence[str], seed: int
) -> Agreement:
    """Between scores [n, C] and the teacher's on the same clips and labels; any two scales."""
    n_same = int((scores.argmax(1) == taught.argmax(1)).sum())
    ours, theirs = (_standardised_ranks(rows) for rows in (scores, taught))
    correlations = (ours * theirs).mean(1)
    weights = resample_groups(groups, seed)
    resampled = weights @ correlations / weights.sum(1)
    value = float(correlations.mean())
    return Agreement(
        teacher=teacher,
        top1=wilson(n_same, len(scores)),
        rank_correlation=basic_interval(value, resampled, len(scores), bounds=(-1.0, 1.0)),
    )


def _standardised_ranks(rows: FloatArray) -> NDArray[np.float64]:
    """Ranks within each row, shifted to mean 0 and scaled to deviation 1."""
    ranks = rankdata(rows, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    return np.asarray(ranks / np.maximum(ranks.std(1, keepdims=True), 1e-12))


def resample_groups(groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """[N_RESAMPLES, n]: how often each clip is drawn when whole groups are drawn."""
    unique, member = np.unique(np.asarray(groups), return_inverse=True)
    odds = np.full(len(unique), 1.0 / len(unique))
    counts = np.random.default_rng(seed).multinomial(len(unique), odds, size=N_RESAMPLES)
    return counts[:, member].astype(np.float64)


def basic_interval(
    value: float,
    resampled: NDArray[np.float64],
    n: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """The basic (reversed) bootstrap interval of a figure from its resampled values."""
    low, high = (2.0 * value - np.nanpercentile(resampled, (97.5, 2.5))).clip(*bounds).tolist()
    return Estimate(value=value, low=low, high=high, n=n)


def weighted_average_precision(
    scores: FloatArray, positive: BoolArray, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision under every row of weights [R, n] at once; NaN where nothing positive is
    drawn."""
    order = np.argsort(-scores, kind="stable")
    drawn = weights[:, order]
    found = drawn * positive[order]
    precision = found.cumsum(1) / np.maximum(drawn.cumsum(1), 1.0)
    return _divided((found * precision).sum(1), found.sum(1))


def weighted_roc_area(
    scores: FloatArray, positive: BoolArray, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Area under the ROC curve under every row of weights [R, n] at once: the share of pairs in
    which the positive scores higher, equal scores being half a pair; NaN without pairs."""
    order = np.argsort(scores, kind="stable")
    levels = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # where each score begins
    drawn, is_positive = weights[:, order], positive[order]
    negatives = np.add.reduceat(drawn * ~is_positive, levels, axis=1)  # [R, n_levels]
    positives = np.add.reduceat(drawn * is_positive, levels, axis=1)
    below = negatives.cumsum(1) - 0.5 * negatives
    return _divided((positives * below).sum(1), negatives.sum(1) * positives.sum(1))


def _mean_of_drawn(classes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Over the classes that a resample has, NaN where it has none: [C][R] -> [R]."""
    rows = np.stack(classes)
    return _divided(np.nansum(rows, axis=0), (~np.isnan(rows)).sum(0))


def _divided(numerator: NDArray[np.float64], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """The quotient, NaN where the denominator is 0."""
    ratios: NDArray[np.float64] = np.divide(
        numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0.0
    )
    return ratios


def cross_validate(
    features: FloatArray, classes: Sequence[str], folds: Sequence[int]
) -> FoldAccuracy:
    """Logistic regression on standardised features [n, D]: each fold is predicted by one that
    was fitted on the others."""
    truth, fold_of = np.asarray(classes), np.asarray(folds)
    answers = np.empty_like(truth)
    for fold in np.unique(fold_of):
        answers[fold_of == fold] = _predict_fold(features, truth, fold_of == fold)
    right = answers == truth
    return FoldAccuracy(
        mean=wilson(int(right.sum()), len(truth)),
        folds=tuple(float(right[fold_of == fold].mean()) for fold in np.unique(fold_of)),
        confusion={
            name: dict(Counter(answers[truth == name].tolist()))
            for name in np.unique(truth).tolist()
        },
    )


def _predict_fold(
    features: FloatArray, truth: NDArray[np.str_], held_out: BoolArray
) -> NDArray[np.str_]:
    """The class of each held-out clip."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=REGRESSION_C, max_iter=1000, random_state=0)
    )
    model.fit(features[~held_out], truth[~held_out])
    return np.asarray(model.predict(features[held_out]))
