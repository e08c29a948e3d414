"""A row on the embedding that tells a sound from all others: regularised logistic regression.

The few rows of the takes weigh as much as the many negatives. Of each take those steps count most
that tell it from others: a take is found if any moment of it is (multiple-instance learning).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.support.arrays import FloatArray

Doubles = NDArray[np.float64]

_L2 = 3e-3  # of whitened weights, beside a mean loss
_SHRINKAGE = 0.1  # of the covariance towards its mean variance
_N_NEWTON = 12
_N_CHOICES = 2  # how often the telling steps are chosen anew
_TELLING_SHARE = 0.5


class Linear(NamedTuple):
    """logit = weight @ embedding + bias."""

    weight: Doubles
    bias: float

    def __call__(self, rows: FloatArray) -> Doubles:
        return np.asarray(rows @ self.weight + self.bias, np.float64)


class Whitening(NamedTuple):
    """Embeddings whose negatives have mean 0 and unit covariance."""

    mean: Doubles
    transform: Doubles

    @classmethod
    def of(cls, negatives: FloatArray) -> Whitening:
        """f32[n, D]."""
        mean = negatives.mean(0, dtype=np.float64)
        centred = negatives - mean
        covariance = centred.T @ centred / max(len(negatives), 1)
        variances, axes = np.linalg.eigh(covariance)
        floor = _SHRINKAGE * max(float(variances.mean()), 1e-9)
        return cls(mean, axes / np.sqrt(np.maximum(variances, 0.0) + floor))

    def __call__(self, rows: FloatArray) -> Doubles:
        return np.asarray((rows - self.mean) @ self.transform, np.float64)

    def undone(self, weight: Doubles, bias: float) -> Linear:
        """A linear function of whitened rows, as one of rows."""
        raw = self.transform @ weight
        return Linear(raw, bias - float(self.mean @ raw))


def fit(takes: Sequence[FloatArray], negatives: FloatArray, whitening: Whitening) -> Linear:
    """takes: f32[n_steps, D] of each, at least one. negatives f32[n, D]."""
    white = [whitening(take) for take in takes]
    others = whitening(negatives)
    weight, bias = _regress(white, others)
    for _ in range(_N_CHOICES):
        weight, bias = _regress([_telling(take, weight) for take in white], others, (weight, bias))
    return whitening.undone(weight, bias)


def _telling(take: Doubles, weight: Doubles) -> Doubles:
    n = max(1, round(_TELLING_SHARE * len(take)))
    return take[np.argsort(-(take @ weight), kind="stable")[:n]]


def _regress(
    takes: Sequence[Doubles], others: Doubles, start: tuple[Doubles, float] | None = None
) -> tuple[Doubles, float]:
    """Newton's method; each take weighs the same, and all of them as much as the others."""
    rows = np.concatenate([*takes, others])
    is_take = np.arange(len(rows)) < len(rows) - len(others)
    weights = np.concatenate(
        [
            *(np.full(len(take), 0.5 / len(takes) / len(take)) for take in takes),
            np.full(len(others), 0.5 / len(others)),
        ]
    )
    rows = np.column_stack([rows, np.ones(len(rows))])
    penalty = np.append(np.full(rows.shape[1] - 1, _L2), 1e-9)
    found = np.zeros(rows.shape[1]) if start is None else np.append(*start)
    for _ in range(_N_NEWTON):
        odds = np.clip(rows @ found, -30.0, 30.0)
        p = 1.0 / (1.0 + np.exp(-odds))
        gradient = rows.T @ (weights * (p - is_take)) + penalty * found
        curvature = (rows * (weights * p * (1.0 - p))[:, None]).T @ rows + np.diag(penalty)
        change = np.linalg.solve(curvature, gradient)
        found = found - change * min(1.0, 10.0 / max(float(np.abs(change).max()), 1e-12))
        if np.abs(change).max() < 1e-4:
            break
    return found[:-1], float(found[-1])
