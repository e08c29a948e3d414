"""A row is not raised by sounds whose embeddings are merely far from all that is stored."""

from __future__ import annotations

import numpy as np

from edge_audio.learning.fit import Told, Whitening, direction, fit, moments, scaled

DIM = 8


def embeddings(rng: np.random.Generator, n: int, size: float = 1.0) -> np.ndarray:
    """As those of a network: many small values, few large ones, none negative."""
    return (size * rng.exponential(size=(n, DIM))).astype(np.float32)


def test_far_sounds_are_fewer_false_alarms_than_by_the_plain_ridge() -> None:
    rng = np.random.default_rng(0)
    negatives, far = embeddings(rng, 2_000), embeddings(rng, 2_000, size=2.0)
    takes = [embeddings(rng, 6) + np.eye(DIM, dtype=np.float32)[0] * 4 for _ in range(5)]
    mine = embeddings(rng, 500) + np.eye(DIM, dtype=np.float32)[0] * 4
    whitening = Whitening.of(negatives)
    told = Told.of(negatives, whitening)
    centre, spread = moments(told.rows, told.weights)
    plain = told._replace(centre=centre, spread=spread)
    ridge = scaled(direction([whitening(x) for x in takes], plain, 10.0), told, whitening)
    shares = {}
    for name, row in (("fit", fit(takes, told, whitening)), ("ridge", ridge)):
        limit = np.quantile(row(mine), 0.5)
        shares[name] = float((row(far) >= limit).mean())
    assert shares["fit"] < 0.7 * shares["ridge"]


def test_logits_of_negatives_have_mean_0_and_variance_1() -> None:
    rng = np.random.default_rng(1)
    negatives = embeddings(rng, 500)
    weights = rng.uniform(size=500)
    weights /= weights.sum()
    whitening = Whitening.of(negatives)
    row = fit([embeddings(rng, 4) + 2], Told.of(negatives, whitening, weights), whitening)
    logits = row(negatives)
    mean = weights @ logits
    np.testing.assert_allclose([mean, weights @ np.square(logits - mean)], [0, 1], atol=1e-3)
