"""How good scores and embeddings are, each figure with a 95 % confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_audio.spec import Spec

REGRESSION_C = 0.1
"""Inverse L2 strength of every logistic regression: fixed beforehand, tuned on nothing."""

MIN_POSITIVES = 10
N_RESAMPLES = 200
_Z_95 = 1.959964

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


class Estimate(Spec, frozen=True):
    """A figure over `n` clips or classes and its 95 % confidence interval."""

    value: float
    low: float
    high: float
    n: int


class FoldAccuracy(Spec, frozen=True):
    """Mean accuracy over the folds, and that of each fold in order."""

    mean: Estimate
    folds: tuple[float, ...]


class AveragePrecision(Spec, frozen=True):
    """Mean over the classes, and each class by name."""

    mean: Estimate
    classes: dict[str, float]


def wilson(n_right: int, n: int) -> Estimate:
    """Share of right answers with its score interval (Wilson 1927)."""
    share, z2 = n_right / n, _Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    spread = share * (1 - share) / n + z2 / (4 * n * n)
    half = _Z_95 * math.sqrt(spread) / (1 + z2 / n)
    return Estimate(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half), n=n)


def hit_at(k: int, scores: FloatArray, listed: BoolArray) -> Estimate:
    """Share of clips with a listed class among the k highest scores [n, C]. Between equal
    scores the classes that are not listed win, so that constant scores hit nothing."""
    best = np.where(listed, scores, -np.inf).max(1, keepdims=True)
    n_ahead = (~listed & (scores >= best)).sum(1)
    return wilson(int((n_ahead < k).sum()), len(scores))


def average_precision(
    scores: FloatArray, listed: BoolArray, names: Sequence[str], groups: Sequence[str], seed: int
) -> AveragePrecision:
    """Over the classes with at least MIN_POSITIVES clips among scores [n, C], listed [n, C].

    The interval resamples groups rather than clips: two clips of a recording are no
    independent evidence. It is the basic (reversed) bootstrap interval, since clips drawn twice
    raise average precision. Without such a class the figures are NaN.
    """
    columns = np.flatnonzero(listed.sum(0) >= MIN_POSITIVES).tolist()
    if not columns:
        nothing = Estimate(value=math.nan, low=math.nan, high=math.nan, n=0)
        return AveragePrecision(mean=nothing, classes={})
    values = [float(average_precision_score(listed[:, c], scores[:, c])) for c in columns]
    weights = _resample(groups, seed)
    means = np.mean(
        [weighted_average_precision(scores[:, c], listed[:, c], weights) for c in columns], axis=0
    )
    mean = float(np.mean(values))
    low, high = (2.0 * mean - np.percentile(means, (97.5, 2.5))).clip(0.0, 1.0).tolist()
    return AveragePrecision(
        mean=Estimate(value=mean, low=low, high=high, n=len(columns)),
        classes={names[c]: value for c, value in zip(columns, values, strict=True)},
    )


def _resample(groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """[N_RESAMPLES, n]: how often each clip is drawn when whole groups are drawn."""
    unique, member = np.unique(np.asarray(groups), return_inverse=True)
    odds = np.full(len(unique), 1.0 / len(unique))
    counts = np.random.default_rng(seed).multinomial(len(unique), odds, size=N_RESAMPLES)
    return counts[:, member].astype(np.float64)


def weighted_average_precision(
    scores: FloatArray, positive: BoolArray, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average precision under every row of weights [R, n] at once."""
    order = np.argsort(-scores, kind="stable")
    drawn = weights[:, order]
    found = drawn * positive[order]
    precision = found.cumsum(1) / np.maximum(drawn.cumsum(1), 1.0)
    result: NDArray[np.float64] = (found * precision).sum(1) / np.maximum(found.sum(1), 1.0)
    return result


def cross_validate(
    features: FloatArray, classes: Sequence[str], folds: Sequence[int]
) -> FoldAccuracy:
    """Logistic regression on standardised features [n, D]: each fold is predicted by one that
    was fitted on the others."""
    truth, fold_of = np.asarray(classes), np.asarray(folds)
    right = [_predict_fold(features, truth, fold_of == fold) for fold in np.unique(fold_of)]
    n_right = sum(int(fold.sum()) for fold in right)
    return FoldAccuracy(
        mean=wilson(n_right, len(truth)), folds=tuple(float(fold.mean()) for fold in right)
    )


def _predict_fold(features: FloatArray, truth: NDArray[np.str_], held_out: BoolArray) -> BoolArray:
    """Whether each held-out clip is classified right."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=REGRESSION_C, max_iter=1000, random_state=0)
    )
    model.fit(features[~held_out], truth[~held_out])
    return np.asarray(model.predict(features[held_out]) == truth[held_out])
