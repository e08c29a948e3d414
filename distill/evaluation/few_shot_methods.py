"""Ways to make a row of a few takes, compared with what `edge-audio learn` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edge_audio.learning.fit import Linear, Told, Whitening, fit
from edge_audio.learning.network import Network
from edge_audio.learning.rates import logits_at, peaks_of
from edge_audio.learning.teach import Fitted, Lesson, fit_row, rows_of
from edge_audio.sounds.embeddings import from_bytes
from edge_audio.sounds.file import Take
from edge_audio.support.arrays import DoubleArray, FloatArray

Method = Callable[[Network, Sequence[Take]], Fitted]

_PROTOTYPE_RIDGE = 1e6  # so large that only the means are left
_L2 = 3e-3  # of logistic regression, beside a mean loss
_N_NEWTON = 8


def _lesson(network: Network) -> Lesson:
    nothing = np.zeros((0, len(network.fingerprint)), np.float32)
    return Lesson.of(network, [], nothing, nothing)


def as_learned(network: Network, takes: Sequence[Take]) -> Fitted:
    """What `edge-audio learn` does: ridge regression, of changed takes too."""
    return fit_row(rows_of(takes, len(network.fingerprint)), _lesson(network))


def as_recorded(network: Network, takes: Sequence[Take]) -> Fitted:
    """The same of the takes as they were recorded."""
    return fit_row(_recorded(network, takes), _lesson(network))


def prototype(network: Network, takes: Sequence[Take]) -> Fitted:
    """The mean of the takes, among whitened negatives."""
    bank, rows = network.bank, _recorded(network, takes)
    told = Told.of(bank.rows, network.whitening)
    return _with_logits(fit(rows, told, network.whitening, _PROTOTYPE_RIDGE), network)


def logistic(network: Network, takes: Sequence[Take]) -> Fitted:
    """Logistic regression against the stored negatives, both sides of the same weight."""
    rows = _recorded(network, takes)
    return _with_logits(regress(rows, network.bank.rows, network.whitening), network)


METHODS: Mapping[str, Method] = {
    "ridge, takes changed too (learn)": as_learned,
    "ridge, takes as recorded": as_recorded,
    "prototype": prototype,
    "logistic regression": logistic,
}


def regress(takes: Sequence[FloatArray], negatives: FloatArray, whitening: Whitening) -> Linear:
    """By Newton's method, penalised."""
    white, others = [whitening(take) for take in takes], whitening(negatives)
    rows = np.concatenate([*white, others])
    is_take = np.arange(len(rows)) < len(rows) - len(others)
    weights = np.concatenate(
        [
            *(np.full(len(take), 0.5 / len(white) / len(take)) for take in white),
            np.full(len(others), 0.5 / len(others)),
        ]
    )
    rows = np.column_stack([rows, np.ones(len(rows))])
    penalty = np.append(np.full(rows.shape[1] - 1, _L2), 1e-9)
    found = np.zeros(rows.shape[1])
    for _ in range(_N_NEWTON):
        p = 1.0 / (1.0 + np.exp(-np.clip(rows @ found, -30.0, 30.0)))
        gradient = rows.T @ (weights * (p - is_take)) + penalty * found
        curvature = (rows * (weights * p * (1.0 - p))[:, None]).T @ rows + np.diag(penalty)
        change: DoubleArray = np.linalg.solve(curvature, gradient)
        found = found - change * min(1.0, 10.0 / max(float(np.abs(change).max()), 1e-12))
    return whitening.undone(found[:-1], float(found[-1]))


def _recorded(network: Network, takes: Sequence[Take]) -> list[FloatArray]:
    return [from_bytes(take.steps, len(network.fingerprint)) for take in takes]


def _with_logits(row: Linear, network: Network) -> Fitted:
    bank = network.bank
    peaks = peaks_of(row(bank.rows), bank.owners)
    return Fitted(row, dict(logits_at(peaks, 0.0, np.zeros(0))))
