"""The learning rate's schedule, and the check of the loss that every step makes."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from edge_audio.errors import EdgeAudioError


def require_finite(loss: Tensor, step: int, run_dir: Path) -> None:
    """Raises EdgeAudioError if the loss is NaN or infinite."""
    if not torch.isfinite(loss):
        raise EdgeAudioError(
            f"the loss is {loss.item()} at step {step}: the last good checkpoint is kept in "
            f"{run_dir}; lower training.learning_rate and run again"
        )


def warmup_cosine(step: int, n_warmup: int, n_steps: int) -> float:
    """Factor of the learning rate: linear warm-up, and half a cosine down to zero at n_steps."""
    warmup = min(1.0, (step + 1) / max(1, n_warmup))
    return warmup * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))


def warmup_constant_decay(step: int, n_warmup: int, n_steps: int, decay_share: float) -> float:
    """Factor of the learning rate: linear warm-up, 1, and linearly down to zero over the last
    `decay_share` of n_steps (Hu et al. 2024, MiniCPM). Until then it does not depend on n_steps."""
    warmup = min(1.0, (step + 1) / max(1, n_warmup))
    return warmup * min(1.0, (n_steps - step) / (decay_share * n_steps))
