"""The control with a cache: softmax attention over the last tokens, as in a causal audio
transformer (Vaswani et al. 2017) with a window (Beltagy et al. 2020), so that the cache is bounded.

    y[t] = sum_{0 <= a < W} softmax_a(q[t] . k[t - a] / sqrt(K) + bias[a]) u[t - a] + d u[t]

for each head, whose values are its channels of u. Before a stream begins, keys and values are
zero, so that nothing has to be masked: such tokens have a share of the softmax, and give nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.sequence_mixer import SequenceMixer, head_width, log_decay_per_head
from edge_audio.bundle.spec import Spec


class AttentionConfig(Spec, frozen=True, tag_field="kind", tag="attention"):
    """n_heads: groups of channels that look at other tokens than each other. key_dim: width of a
    head's queries and keys. window_s: the last so many seconds are looked at, and kept."""

    n_heads: int = 4
    key_dim: int = 4
    window_s: float = 1.92

    def build(self, channels: int, token_s: float) -> CausalAttention:
        return CausalAttention(
            channels, self.n_heads, self.key_dim, max(1, round(self.window_s / token_s))
        )


class AttentionState(NamedTuple):
    """key [B, W - 1, H K] and value [B, W - 1, D] of the tokens before, oldest first."""

    key: Tensor
    value: Tensor


class CausalAttention(SequenceMixer[AttentionState]):
    """Attention over this token and the n_window - 1 before it, with a learned bias by age."""

    def __init__(self, channels: int, n_heads: int, key_dim: int, n_window: int) -> None:
        super().__init__()
        self.n_heads, self.key_dim, self.n_window = n_heads, key_dim, n_window
        self.width = head_width(channels, n_heads)
        self.project = nn.Linear(channels, 2 * n_heads * key_dim)  # query, key
        rate = log_decay_per_head(n_heads, max(2.0, n_window)).exp()  # one over its time constant
        ages = torch.arange(n_window - 1, -1, -1, dtype=torch.float32)
        self.bias = nn.Parameter(-rate[:, None] * ages)  # [H, W], oldest first
        self.skip = nn.Parameter(torch.randn(channels))

    def forward(self, u: Tensor) -> Tensor:
        n_steps, n_before = u.shape[1], self.n_window - 1
        query, key = self._queries_and_keys(u)
        keys, values = (
            functional.pad(part, (0, 0, n_before, 0)).unflatten(2, (self.n_heads, -1))
            for part in (key, u)
        )
        places = torch.arange(n_steps + n_before, device=u.device)
        place = places - places[:n_steps, None]  # [T, S], within the window of each token
        is_outside = (place < 0) | (place > n_before)
        bias = self.bias[:, place.clamp(0, n_before)].masked_fill(is_outside, -math.inf)
        score = query.unflatten(2, (self.n_heads, -1)).transpose(1, 2) @ keys.permute(0, 2, 3, 1)
        weight = torch.softmax(score + bias, 3)  # [B, H, T, S]
        y = (weight @ values.transpose(1, 2)).transpose(1, 2).flatten(2)
        out: Tensor = y + self.skip * u
        return out

    def step(self, u: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        query, key = self._queries_and_keys(u)
        keys, values = (
            torch.cat([before, now.reshape(len(now), 1, -1)], dim=1)
            for before, now in zip(state, (key, u), strict=True)
        )
        score = torch.bmm(self._heads(keys, self.key_dim), query.reshape(-1, self.key_dim, 1))
        score = score.reshape(-1, self.n_heads, self.n_window) + self.bias
        weight = torch.softmax(score, 2).reshape(-1, 1, self.n_window)
        y = torch.bmm(weight, self._heads(values, self.width)).reshape(u.shape)
        return y + self.skip * u, AttentionState(keys[:, 1:], values[:, 1:])

    def initial_state(self, batch_size: int) -> AttentionState:
        widths = self.n_heads * self.key_dim, len(self.skip)
        shapes = ((batch_size, self.n_window - 1, width) for width in widths)
        return AttentionState(*(self.skip.new_zeros(shape) for shape in shapes))

    def _queries_and_keys(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """[..., H K] each, queries divided by sqrt(K)."""
        query, key = self.project(u).chunk(2, dim=-1)
        return query / math.sqrt(self.key_dim), key

    def _heads(self, tokens: Tensor, width: int) -> Tensor:
        """[B, W, H width] -> [B H, W, width]."""
        heads = tokens.reshape(-1, self.n_window, self.n_heads, width).transpose(1, 2)
        return heads.reshape(-1, self.n_window, width)
