"""Mixtures drawn from a clip feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.data.clip_feed import ClipFeed
from distill.mixing.mixtures import Mixer, Mixture, MixtureConfig


class FeedMixer:
    """Draws what `Mixer` draws, but mixture i from pool i // mixtures_per_pool of a feed.

    weights: relative odds of the feed's clips `indices`; they hold within each pool.
    """

    def __init__(
        self,
        feed: ClipFeed,
        config: MixtureConfig,
        sample_rate_hz: int,
        n_samples: int,
        weights: NDArray[np.floating[Any]],
        mixtures_per_pool: int,
    ) -> None:
        self._feed, self._weights = feed, np.zeros(feed.indices.max() + 1)
        self._weights[feed.indices] = weights
        self._mixing = config, sample_rate_hz, n_samples
        self._mixtures_per_pool = mixtures_per_pool
        self._last: tuple[int, Mixer] | None = None

    def draw(self, seed: Sequence[int]) -> Mixture:
        """The mixture of this seed, whose last number is the mixture's index."""
        return self._mixer(seed[-1] // self._mixtures_per_pool).draw(seed)

    def _mixer(self, number: int) -> Mixer:
        if self._last is None or self._last[0] != number:
            pool = self._feed.pool(number)
            weights = self._weights[pool.indices]
            self._last = number, Mixer(pool, pool.indices.tolist(), *self._mixing, weights)
        return self._last[1]
