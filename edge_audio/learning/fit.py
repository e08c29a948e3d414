"""A row on the embedding that tells a sound from all others: ridge regression on whitened rows.

The few rows of the takes weigh as much as the many negatives. Of each take those steps count most
that tell it from others: a take is found if any moment of it is (multiple-instance learning). The
more the ridge weighs, the nearer the row is to the mean of the takes, a prototype; `python -m
distill.evaluation.few_shot` compares both, and logistic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edge_audio.support.arrays import DoubleArray, FloatArray

RIDGE = 10.0  # beside rows of unit covariance
_SHRINKAGE = 0.05  # of the covariance towards its mean variance
_TELLING_SHARE = 0.5


class Linear(NamedTuple):
    """logit = weight @ embedding + bias."""

    weight: DoubleArray
    bias: float

    def __call__(self, rows: FloatArray) -> DoubleArray:
        return np.asarray(rows @ self.weight.astype(np.float32) + self.bias, np.float64)


class Whitening(NamedTuple):
    """Embeddings whose negatives have mean 0 and about unit covariance."""

    mean: DoubleArray
    transform: DoubleArray

    @classmethod
    def of(cls, negatives: FloatArray) -> Whitening:
        """f32[n, D]."""
        mean = negatives.mean(0, dtype=np.float64)
        centred = negatives - mean
        covariance = centred.T @ centred / max(len(negatives), 1)
        variances, axes = np.linalg.eigh(covariance)
        floor = _SHRINKAGE * max(float(variances.mean()), 1e-9)
        return cls(mean, axes / np.sqrt(np.maximum(variances, 0.0) + floor))

    def __call__(self, rows: FloatArray) -> DoubleArray:
        return np.asarray((rows - self.mean) @ self.transform, np.float64)

    def undone(self, weight: DoubleArray, bias: float) -> Linear:
        """A linear function of whitened rows, as one of rows."""
        raw = self.transform @ weight
        return Linear(raw, bias - float(self.mean @ raw))


class Told(NamedTuple):
    """What takes are told from: mean and covariance of whitened negatives."""

    centre: DoubleArray
    spread: DoubleArray

    @classmethod
    def of(
        cls, negatives: FloatArray, whitening: Whitening, weights: DoubleArray | None = None
    ) -> Told:
        """negatives f32[n, D], weights f64[n] of them, which sum to 1; None = all alike."""
        if weights is None:
            weights = np.full(len(negatives), 1.0 / len(negatives))
        return cls(*_moments(whitening(negatives), weights))


def fit(
    takes: Sequence[FloatArray], told: Told, whitening: Whitening, ridge: float = RIDGE
) -> Linear:
    """takes: f32[n_steps, D] of each, at least one. The logits of the negatives vary by about
    1."""
    white = [whitening(take) for take in takes]
    centre, spread = told
    weight = _solve(white, centre, spread, ridge)
    weight = _solve([_telling(take, weight) for take in white], centre, spread, ridge)
    weight /= max(float(np.sqrt(weight @ spread @ weight)), 1e-9)
    return whitening.undone(weight, -float(centre @ weight))


def _telling(take: DoubleArray, weight: DoubleArray) -> DoubleArray:
    n = max(1, round(_TELLING_SHARE * len(take)))
    return take[np.argsort(-(take @ weight), kind="stable")[:n]]


def _solve(
    takes: Sequence[DoubleArray], centre: DoubleArray, spread: DoubleArray, ridge: float
) -> DoubleArray:
    """The direction of ridge regression of two classes, which weigh the same: (covariance of all +
    ridge)^-1 (mean of one - mean of the other)."""
    means = [_moments(take, np.full(len(take), 1.0 / len(take))) for take in takes]
    mean = np.mean([one for one, _ in means], 0)
    within = np.mean([cov + np.outer(one - mean, one - mean) for one, cov in means], 0)
    covariance = 0.5 * spread + 0.5 * within + ridge * np.eye(len(centre))
    return np.asarray(np.linalg.solve(covariance, mean - centre), np.float64)


def _moments(rows: DoubleArray, weights: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Mean and covariance."""
    mean = weights @ rows
    centred = rows - mean
    return mean, (centred * weights[:, None]).T @ centred
