"""A row on the embedding that tells a sound from all others: ridge regression on whitened rows of
one length.

The few rows of the takes weigh as much as the many negatives. Of each take those steps count most
that tell it from others: a take is found if any moment of it is (multiple-instance learning). The
more the ridge weighs, the nearer the row is to the mean of the takes, a prototype.

What tells best is the cosine, weight @ row / |row|: sounds unlike all that is stored have long
rows, and are false alarms by their length alone. A row of the head cannot divide. But cosine > c
is weight @ row - c |row| > 0, and a linear function of the row comes near its length: so much is
taken off, with the c that few negatives exceed. `python -m distill.evaluation.few_shot` compares
this with the plain ridge, the cosine itself, prototypes and logistic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_audio.support.arrays import DoubleArray, FloatArray

RIDGE = 10.0  # beside rows of unit covariance
_LENGTH_RIDGE = 0.1  # of the length, beside rows of unit covariance
_EXCEEDED = 0.02  # the share of negatives above the cosine that lengths are taken off for
_SHRINKAGE = 0.05  # of the covariance towards its mean variance
_TELLING_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Linear:
    """logit = weight @ embedding + bias."""

    weight: DoubleArray
    bias: float

    def __call__(self, rows: FloatArray) -> DoubleArray:
        return np.asarray(rows @ self.weight.astype(np.float32) + self.bias, np.float64)


class Whitening(NamedTuple):
    """Embeddings whose negatives have mean 0 and about unit covariance.

    length: f64[D], how the length of such a row rises with it, by linear regression.
    """

    mean: DoubleArray
    transform: DoubleArray
    length: DoubleArray

    @classmethod
    def of(cls, negatives: FloatArray) -> Whitening:
        """f32[n, D]."""
        mean = negatives.mean(0, dtype=np.float64)
        centred = negatives - mean
        covariance = centred.T @ centred / max(len(negatives), 1)
        variances, axes = np.linalg.eigh(covariance)
        floor = _SHRINKAGE * max(float(variances.mean()), 1e-9)
        transform = axes / np.sqrt(np.maximum(variances, 0.0) + floor)
        return cls(mean, transform, _slope_of_length(centred @ transform))

    def __call__(self, rows: FloatArray) -> DoubleArray:
        return np.asarray((rows - self.mean) @ self.transform, np.float64)

    def undone(self, weight: DoubleArray, bias: float) -> Linear:
        """A linear function of whitened rows, as one of rows."""
        raw = self.transform @ weight
        return Linear(raw, bias - float(self.mean @ raw))


class Told(NamedTuple):
    """What takes are told from: whitened negatives and their weights, which sum to 1; mean and
    covariance of them at one length, see `unit`."""

    rows: DoubleArray
    weights: DoubleArray
    centre: DoubleArray
    spread: DoubleArray

    @classmethod
    def of(
        cls, negatives: FloatArray, whitening: Whitening, weights: DoubleArray | None = None
    ) -> Told:
        """negatives f32[n, D], weights f64[n] of them, which sum to 1; None = all alike."""
        if weights is None:
            weights = np.full(len(negatives), 1.0 / len(negatives))
        rows = whitening(negatives)
        return cls(rows, weights, *moments(unit(rows), weights))


def fit(
    takes: Sequence[FloatArray], told: Told, whitening: Whitening, ridge: float = RIDGE
) -> Linear:
    """takes: f32[n_steps, D] of each, at least one. The logits of the negatives have mean 0 and
    vary by about 1."""
    weight = direction([unit(whitening(take)) for take in takes], told, ridge)
    cosine = float(np.quantile(unit(told.rows) @ weight, 1.0 - _EXCEEDED))
    cosine /= np.sqrt(len(weight))
    return scaled(weight - max(cosine, 0.0) * whitening.length, told, whitening)


def direction(takes: Sequence[DoubleArray], told: Told, ridge: float) -> DoubleArray:
    """f64[D] of whitened takes f64[n_steps, D] of each, by ridge regression."""
    centre, spread = told.centre, told.spread
    weight = _solve(takes, centre, spread, ridge)
    return _solve([_telling(take, weight) for take in takes], centre, spread, ridge)


def scaled(weight: DoubleArray, told: Told, whitening: Whitening) -> Linear:
    """The row of this direction in which logits of negatives have mean 0 and variance 1."""
    logits = told.rows @ weight
    mean = float(told.weights @ logits)
    spread = max(float(np.sqrt(told.weights @ np.square(logits - mean))), 1e-9)
    return whitening.undone(weight / spread, -mean / spread)


def unit(rows: DoubleArray) -> DoubleArray:
    """Whitened rows f64[n, D], all as long as such rows are on average, the root of D."""
    lengths = np.sqrt(np.square(rows).sum(1, keepdims=True))
    return np.asarray(rows * (np.sqrt(rows.shape[1]) / np.maximum(lengths, 1e-6)), np.float64)


def _slope_of_length(rows: DoubleArray) -> DoubleArray:
    """f64[D], of whitened rows, whose mean is 0."""
    lengths = np.sqrt(np.square(rows).sum(1))
    covariance = rows.T @ rows / max(len(rows), 1) + _LENGTH_RIDGE * np.eye(rows.shape[1])
    slope = np.linalg.solve(covariance, rows.T @ (lengths - lengths.mean()) / max(len(rows), 1))
    return np.asarray(slope, np.float64)


def _telling(take: DoubleArray, weight: DoubleArray) -> DoubleArray:
    n = max(1, round(_TELLING_SHARE * len(take)))
    return take[np.argsort(-(take @ weight), kind="stable")[:n]]


def _solve(
    takes: Sequence[DoubleArray], centre: DoubleArray, spread: DoubleArray, ridge: float
) -> DoubleArray:
    """The direction of ridge regression of two classes, which weigh the same: (covariance of all +
    ridge)^-1 (mean of one - mean of the other)."""
    means = [moments(take, np.full(len(take), 1.0 / len(take))) for take in takes]
    mean = np.mean([one for one, _ in means], 0)
    within = np.mean([cov + np.outer(one - mean, one - mean) for one, cov in means], 0)
    covariance = 0.5 * spread + 0.5 * within + ridge * np.eye(len(centre))
    return np.asarray(np.linalg.solve(covariance, mean - centre), np.float64)


def moments(rows: DoubleArray, weights: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Mean and covariance."""
    mean = weights @ rows
    centred = rows - mean
    return mean, (centred * weights[:, None]).T @ centred
