"""Collapse watch: does the teacher still tell sounds apart?

A network that predicts its own moving average can please itself with a constant.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from distill.pretraining.recipe import CollapseFloor
from edge_audio.bundle.spec import Spec

_MAX_ROWS = 2048  # of the singular value decomposition


class CollapseWarning(UserWarning):
    """The teacher's features carry next to no information."""


class Health(Spec, frozen=True):
    """What sets clips apart. rank: `effective_rank` of the features, less their mean over clips.
    variation: standard deviation over clips relative to the features' RMS, from 0, where all
    clips give the same, to about 1."""

    rank: float
    variation: float

    def collapsed(self, floor: CollapseFloor) -> bool:
        """Whether either figure is below its floor."""
        return self.rank < floor.rank or self.variation < floor.variation


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the singular values of [n, D], from 1 to min(n, D): RankMe (Garrido
    et al., ICML 2023, equation 3)."""
    values = torch.linalg.svdvals(features)
    shares = values / values.sum().clamp(min=1e-12) + 1e-7
    return float(torch.exp(-(shares * shares.log()).sum()))


def examine(features: Tensor) -> Health:
    """Health of features [clips, patches, D]. Only clips are compared, patch by patch: patches
    of one clip differ even after a collapse, for they know their places."""
    features = features.detach().float()
    differences = features - features.mean(0)
    rms = features.square().mean().sqrt().clamp(min=1e-12)
    variation = differences.square().mean().sqrt() / rms
    rows = differences.flatten(0, 1)
    rows = rows[:: -(-len(rows) // _MAX_ROWS)]
    return Health(rank=effective_rank(rows), variation=float(variation))


def warn_of_collapse(health: Health, floor: CollapseFloor, step: int) -> None:
    """Issues a CollapseWarning if the features are below the floor."""
    if health.collapsed(floor):
        warnings.warn(
            f"COLLAPSE at step {step}: the teacher's features have rank {health.rank:.1f} (floor "
            f"{floor.rank:g}) and variation {health.variation:.3f} (floor {floor.variation:g}). "
            "Stop the run; lower training.learning_rate or raise objective.ema_start.",
            CollapseWarning,
            stacklevel=2,
        )
