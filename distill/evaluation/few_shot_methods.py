"""Ways to tell a sound by a few takes, compared with what `edge-audio learn` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from edge_audio.bundle.spec import Sensitivity
from edge_audio.learning.fit import RIDGE, Linear, Whitening, direction, moments, scaled, unit
from edge_audio.learning.network import Embedder
from edge_audio.learning.rates import logits_at, peaks_of
from edge_audio.learning.teach import Lesson, fit_row, rows_of
from edge_audio.sounds.embeddings import from_bytes
from edge_audio.sounds.file import Take
from edge_audio.support.arrays import DoubleArray, FloatArray

Row = Callable[[FloatArray], DoubleArray]
"""Embeddings f32[n, D] -> logits f64[n]."""


class Learned(NamedTuple):
    """logits: the thresholds that were chosen."""

    row: Row
    logits: Mapping[Sensitivity, float]


Method = Callable[[Embedder, Sequence[Take]], Learned]

_PROTOTYPE_RIDGE = 1e6  # so large that only the means are left
_L2 = 3e-3  # of logistic regression, beside a mean loss


@dataclass(frozen=True)
class Cosine:
    """The cosine between a direction f64[D] and whitened rows: no row of a head, since the length
    of a row takes a product with a matrix."""

    weight: DoubleArray
    whitening: Whitening

    def __call__(self, rows: FloatArray) -> DoubleArray:
        mean, transform = (x.astype(np.float32) for x in self.whitening[:2])
        white = (rows - mean) @ transform
        lengths = np.sqrt(np.square(white).sum(1))
        logits = white @ self.weight.astype(np.float32) / np.maximum(lengths, 1e-6)
        return np.asarray(logits, np.float64)


def as_learned(network: Embedder, takes: Sequence[Take]) -> Learned:
    """What `edge-audio learn` does: ridge regression of rows of one length, of changed takes too,
    and what comes near their lengths taken off."""
    fitted = fit_row(rows_of(takes, network.embedding_dim), _lesson(network))
    return Learned(fitted.row, fitted.logits)


def as_recorded(network: Embedder, takes: Sequence[Take]) -> Learned:
    """The same of the takes as they were recorded."""
    fitted = fit_row(_recorded(network, takes), _lesson(network))
    return Learned(fitted.row, fitted.logits)


def cosine(network: Embedder, takes: Sequence[Take]) -> Learned:
    """The same direction, with the lengths themselves."""
    whitening = network.whitening
    rows = [unit(whitening(one)) for one in rows_of(takes, network.embedding_dim)]
    weight = direction(rows, _lesson(network).told, RIDGE)
    return _with_logits(Cosine(weight, whitening), network)


def ridge(network: Embedder, takes: Sequence[Take], amount: float = RIDGE) -> Learned:
    """Ridge regression that leaves lengths as they are."""
    whitening, told = network.whitening, _lesson(network).told
    centre, spread = moments(told.rows, told.weights)
    rows = [whitening(one) for one in rows_of(takes, network.embedding_dim)]
    weight = direction(rows, told._replace(centre=centre, spread=spread), amount)
    return _with_logits(scaled(weight, told, whitening), network)


def prototype(network: Embedder, takes: Sequence[Take]) -> Learned:
    """The mean of the takes, among whitened negatives."""
    return ridge(network, takes, _PROTOTYPE_RIDGE)


def logistic(network: Embedder, takes: Sequence[Take]) -> Learned:
    """Logistic regression against the stored negatives, both sides of the same weight, as
    openWakeWord's custom verifiers are."""
    rows = _recorded(network, takes)
    return _with_logits(regress(rows, network.bank.rows, network.whitening), network)


METHODS: Mapping[str, Method] = {
    "learn": as_learned,
    "learn, takes as recorded": as_recorded,
    "cosine": cosine,
    "ridge": ridge,
    "prototype": prototype,
    "logistic regression": logistic,
}


def regress(takes: Sequence[FloatArray], negatives: FloatArray, whitening: Whitening) -> Linear:
    """By L-BFGS, penalised."""
    white = [whitening(take) for take in takes]
    rows = np.concatenate([*white, whitening(negatives)])
    n_takes = len(rows) - len(negatives)
    sides = np.where(np.arange(len(rows)) < n_takes, 1.0, -1.0)
    parts = [np.full(len(take), 0.5 / len(white) / len(take)) for take in white]
    weights = np.concatenate([*parts, np.full(len(negatives), 0.5 / len(negatives))])

    def loss(found: DoubleArray) -> tuple[float, DoubleArray]:
        margins = sides * (rows @ found[:-1] + found[-1])
        pull = -sides * weights / (1.0 + np.exp(np.clip(margins, -30.0, 30.0)))
        penalty = 0.5 * _L2 * float(found[:-1] @ found[:-1])
        gradient = np.append(rows.T @ pull + _L2 * found[:-1], pull.sum())
        return float(weights @ np.logaddexp(0.0, -margins)) + penalty, gradient

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return whitening.undone(found[:-1], float(found[-1]))


def _lesson(network: Embedder) -> Lesson:
    nothing = np.zeros((0, network.embedding_dim), np.float32)
    return Lesson.of(network, [], nothing, nothing)


def _recorded(network: Embedder, takes: Sequence[Take]) -> list[FloatArray]:
    return [from_bytes(take.steps, network.embedding_dim) for take in takes]


def _with_logits(row: Row, network: Embedder) -> Learned:
    bank = network.bank
    peaks = peaks_of(row(bank.rows), bank.owners)
    return Learned(row, logits_at(peaks, 0.0, np.zeros(0)))
