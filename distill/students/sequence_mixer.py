"""What a block asks of its sequence mixer, the one part of it that remembers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edge_audio.errors import UsageError

State = tuple[Tensor, ...]


class SequenceMixer(nn.Module, ABC):
    """u [B, T, D] -> y [B, T, D], causal: `forward` equals repeated `step` from a zero state.

    state_shapes: shape of every state tensor by name, without the batch dimension. Its settings
    are a Spec with `build(channels, token_s) -> SequenceMixer`, in recipes told apart by `kind`.
    """

    state_shapes: dict[str, tuple[int, ...]]

    @abstractmethod
    def forward(self, u: Tensor) -> Tensor:
        """The whole sequence at once, for training."""

    @abstractmethod
    def step(self, u: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, State]:
        """u [B, D] and the tensors of state_shapes -> y [B, D], next state."""


def head_width(channels: int, n_heads: int) -> int:
    """Channels per head. Raises UsageError if they do not divide."""
    if channels % n_heads:
        raise UsageError(f"{channels} channels do not make {n_heads} heads: change either")
    return channels // n_heads


def log_decay_per_head(n_heads: int, max_time_constant: float) -> Tensor:
    """-ln of time constants [H] in steps, spread evenly in ln from one step to 0.8 of the
    longest: sigmoid(x - log_decay) is the decay per step of such a memory at x = 0."""
    return -torch.linspace(0.0, math.log(0.8 * max_time_constant), n_heads)
