"""Selective state space with one decay per head (Mamba-2; Dao & Gu 2024).

    h[t] = a[t] h[t-1] + sqrt(1 - a[t]^2) b[t] u[t]^T      y[t] = c[t] . h[t] + d u[t]

a, b and c follow from u[t]. Mamba's exp(-softplus(x)) is sigmoid(-x); here it is also bounded
below one, and with it the state. The gain keeps the state's variance near that of its input, as
in the LRU (Orvieto et al. 2023), where Mamba has its step size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.chunked import decayed_attention, decayed_attention_step, pad_to_chunks
from distill.students.sequence_mixer import SequenceMixer, head_width, log_decay_per_head
from edge_audio.bundle.spec import Spec


class SelectiveSSMConfig(Spec, frozen=True, tag_field="kind", tag="ssm-selective"):
    """n_heads: groups of channels with a decay of their own. state_dim: width of b and c.
    max_time_constant_s: longest memory."""

    n_heads: int = 8
    state_dim: int = 12
    max_time_constant_s: float = 8.0

    def build(self, channels: int, token_s: float) -> SelectiveSSM:
        time_constant = self.max_time_constant_s / token_s
        return SelectiveSSM(channels, self.n_heads, self.state_dim, time_constant)


class SelectiveState(NamedTuple):
    """h [B, N, H, P]: state_dim, heads, channels per head."""

    h: Tensor


class SelectiveSSM(SequenceMixer[SelectiveState]):
    """A state of state_dim numbers per channel, one decay per head."""

    def __init__(
        self, channels: int, n_heads: int, state_dim: int, max_time_constant: float
    ) -> None:
        super().__init__()
        self.value_shape = (n_heads, head_width(channels, n_heads))
        self.widths = (state_dim, state_dim, n_heads)
        self.max_decay = math.exp(-1.0 / max_time_constant)
        self.project = nn.Linear(channels, sum(self.widths))
        self.log_decay = nn.Parameter(log_decay_per_head(n_heads, max_time_constant))
        self.skip = nn.Parameter(torch.randn(channels))

    def forward(self, u: Tensor) -> Tensor:
        padded = pad_to_chunks(u)
        key, query, rate = self.project(padded).split(self.widths, dim=-1)
        log_decay = functional.logsigmoid(rate - self.log_decay) + math.log(self.max_decay)
        log_gain = 0.5 * torch.log1p(-torch.exp(2.0 * log_decay))
        value = padded.unflatten(2, self.value_shape)
        scale = torch.zeros_like(log_decay)
        y = decayed_attention(query, key, value, log_decay, log_gain, scale)
        return y.flatten(2)[:, : u.shape[1]] + self.skip * u

    def step(self, u: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        key, query, rate = self.project(u).split(self.widths, dim=-1)
        decay = self.max_decay * torch.sigmoid(rate - self.log_decay)
        gain = torch.sqrt(1.0 - decay * decay)
        value = gain.reshape(*gain.shape, 1) * u.reshape(-1, *self.value_shape)
        y, h = decayed_attention_step(query, key, value, decay, state.h)
        return y.reshape(u.shape) + self.skip * u, SelectiveState(h)

    def initial_state(self, batch_size: int) -> SelectiveState:
        return SelectiveState(self.skip.new_zeros(batch_size, self.widths[0], *self.value_shape))
