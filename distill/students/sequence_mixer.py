"""The sequence mixer: the one part of a residual block that remembers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic

import torch
from torch import Tensor, nn

from distill.students.state import StateT
from edge_audio.errors import UsageError


class SequenceMixer(nn.Module, ABC, Generic[StateT]):
    """u [B, T, D] -> y [B, T, D], causal: in eval(), `forward` equals repeated `step` from
    `initial_state`.

    StateT is a NamedTuple of the tensors [B, ...] that it remembers. The settings of a mixer are a
    Spec with `build(channels, token_s) -> SequenceMixer`, in recipes told apart by their `kind`.
    """

    @abstractmethod
    def forward(self, u: Tensor) -> Tensor:
        """The whole sequence at once, for training."""

    @abstractmethod
    def step(self, u: Tensor, state: StateT) -> tuple[Tensor, StateT]:
        """u [B, D] and the state before it -> y [B, D], next state."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> StateT:
        """Zeros, on the device of the weights."""


def head_width(channels: int, n_heads: int) -> int:
    """Channels per head. Raises UsageError if they do not divide."""
    if channels % n_heads:
        raise UsageError(f"{channels} channels do not make {n_heads} heads: change either")
    return channels // n_heads


def log_decay_per_head(n_heads: int, max_time_constant: float) -> Tensor:
    """-ln of time constants [H] in steps, spread evenly in ln from one step to 0.8 of the
    longest: sigmoid(x - log_decay) is the decay per step of such a memory at x = 0."""
    return -torch.linspace(0.0, math.log(0.8 * max_time_constant), n_heads)
