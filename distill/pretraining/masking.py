"""Patchout, which leaves out patches altogether, and inverse block masking of the rest: what the
student sees forms blocks, all else is to be predicted.

Koutini et al.: Efficient Training of Audio Transformers with Patchout (PaSST), Interspeech 2022,
section 3. Baevski et al.: Efficient Self-supervised Learning with Contextualized Target
Representations (data2vec 2.0), ICML 2023, section 3.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distill.pretraining.recipe import MaskConfig


def patchout(
    rng: np.random.Generator, config: MaskConfig, n_positions: int, n_bands: int
) -> NDArray[np.int64]:
    """i64[positions, bands]: numbers, position * n_bands + band, of the patches that stay, whole
    rows and columns of the grid in their order."""
    positions = _chosen(rng, n_positions, n_positions - config.patchout_positions)
    bands = _chosen(rng, n_bands, n_bands - config.patchout_bands)
    return positions[:, None] * n_bands + bands


def _chosen(rng: np.random.Generator, n: int, n_chosen: int) -> NDArray[np.int64]:
    return np.sort(rng.choice(n, n_chosen, replace=False))


def inverse_block_mask(
    rng: np.random.Generator, config: MaskConfig, n_positions: int, n_bands: int
) -> NDArray[np.bool_]:
    """[n_positions, n_bands], True where masked; exactly `config.n_kept` of them are not.

    Blocks of block_positions x block_bands become visible one by one, at places that may cross
    the edges, so that an edge is seen as often as the middle; the last one loses what is too
    much.
    """
    masked = np.ones((n_positions, n_bands), bool)
    n_missing = config.n_kept(masked.size)
    height, width = min(config.block_positions, n_positions), min(config.block_bands, n_bands)
    while n_missing:
        top = int(rng.integers(1 - height, n_positions))
        left = int(rng.integers(1 - width, n_bands))
        block = np.zeros_like(masked)
        block[max(0, top) : top + height, max(0, left) : left + width] = True
        fresh = np.flatnonzero(block & masked)
        if len(fresh) > n_missing:
            fresh = rng.choice(fresh, n_missing, replace=False)
        masked.flat[fresh] = False
        n_missing -= len(fresh)
    return masked


def visible_patches(
    rng: np.random.Generator, config: MaskConfig, n_positions: int, n_bands: int
) -> NDArray[np.int64]:
    """i64[n_clones, n_kept]: ascending patch numbers, position * n_bands + band, that each clone
    sees."""
    masks = [inverse_block_mask(rng, config, n_positions, n_bands) for _ in range(config.n_clones)]
    return np.stack([np.flatnonzero(~mask) for mask in masks])
