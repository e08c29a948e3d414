"""mLSTM: the matrix memory of the xLSTM (Beck et al. 2024).

    C[t] = f[t] C[t-1] + i[t] k[t] v[t]^T     y[t] = q[t] . C[t] / max(|q[t] . n[t]|, 1) + d u[t]

n is C with all values 1. The input gate i is exponential; or a sigmoid, and then nothing is
normalised (mLSTMsig; Beck et al. 2025). u itself is the value, and the heads share q and k.

Exponential gates: C and n are kept divided by m[t] = max(f[t] m[t-1], i[t]), the largest weight in
the sums that they are, so that they stay as bounded as with a sigmoid. xLSTM keeps ln m; with the
gate's logit clipped, m itself fits into a float and starts from zero like every other state.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.chunked import (
    decayed_attention,
    decayed_attention_step,
    pad_to_chunks,
    running_maximum,
)
from distill.students.sequence_mixer import SequenceMixer, head_width, log_decay_per_head
from distill.students.state import StateT
from edge_audio.bundle.spec import Spec

MAX_LOGIT = 10.0
"""Of the exponential input gate, either sign."""


class MLSTMConfig(Spec, frozen=True, tag_field="kind", tag="mlstm"):
    """n_heads: groups of channels with gates of their own. key_dim: width of queries and keys.
    gate: the input gate. max_time_constant_s: longest memory."""

    n_heads: int = 4
    key_dim: int = 12
    gate: Literal["exponential", "sigmoid"] = "exponential"
    max_time_constant_s: float = 8.0

    def build(self, channels: int, token_s: float) -> MLSTM[Any]:
        time_constant = self.max_time_constant_s / token_s
        kind = ExponentialMLSTM if self.gate == "exponential" else SigmoidMLSTM
        return kind(channels, self.n_heads, self.key_dim, time_constant)


class SigmoidState(NamedTuple):
    """c [B, N, H, P]: key_dim, heads, channels per head."""

    c: Tensor


class ExponentialState(NamedTuple):
    """c [B, N, H, P]: key_dim, heads, channels per head; n [B, N, H, 1] and m [B, H, 1]."""

    c: Tensor
    n: Tensor
    m: Tensor


class MLSTM(SequenceMixer[StateT]):
    """What both gates share: projections, forget gate, skip."""

    def __init__(self, channels: int, n_heads: int, key_dim: int, max_time_constant: float) -> None:
        super().__init__()
        self.value_shape = (n_heads, head_width(channels, n_heads))
        self.widths = (key_dim, key_dim, n_heads, n_heads)
        self.max_decay = math.exp(-1.0 / max_time_constant)
        self.key_scale = key_dim**-0.5
        self.project = nn.Linear(channels, sum(self.widths))
        self.log_decay = nn.Parameter(log_decay_per_head(n_heads, max_time_constant))
        self.skip = nn.Parameter(torch.randn(channels))

    def _project(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """query, scaled key, and the logits of input and forget gate."""
        query, key, gain, decay = self.project(u).split(self.widths, dim=-1)
        return query, self.key_scale * key, gain, decay - self.log_decay

    def _log_forget(self, logit: Tensor) -> Tensor:
        return functional.logsigmoid(logit) + math.log(self.max_decay)

    def _forget(self, logit: Tensor) -> Tensor:
        return self.max_decay * torch.sigmoid(logit)

    def _heads(self, u: Tensor) -> Tensor:
        out: Tensor = u.unflatten(-1, self.value_shape)
        return out

    def _zeros(self, batch_size: int, *shape: int) -> Tensor:
        return self.skip.new_zeros(batch_size, *shape)


class SigmoidMLSTM(MLSTM[SigmoidState]):
    """Nothing is normalised."""

    def forward(self, u: Tensor) -> Tensor:
        padded = pad_to_chunks(u)
        query, key, gain, decay = self._project(padded)
        log_decay, log_gain = self._log_forget(decay), functional.logsigmoid(gain)
        scale = torch.zeros_like(gain)
        y = decayed_attention(query, key, self._heads(padded), log_decay, log_gain, scale)
        return y.flatten(2)[:, : u.shape[1]] + self.skip * u

    def step(self, u: Tensor, state: SigmoidState) -> tuple[Tensor, SigmoidState]:
        query, key, gain, decay = self._project(u)
        gain = torch.sigmoid(gain).reshape(*gain.shape, 1)
        value = gain * u.reshape(-1, *self.value_shape)
        y, c = decayed_attention_step(query, key, value, self._forget(decay), state.c)
        return y.reshape(u.shape) + self.skip * u, SigmoidState(c)

    def initial_state(self, batch_size: int) -> SigmoidState:
        return SigmoidState(self._zeros(batch_size, self.widths[0], *self.value_shape))


class ExponentialMLSTM(MLSTM[ExponentialState]):
    """Normalised by n, at the scale m."""

    def forward(self, u: Tensor) -> Tensor:
        padded = pad_to_chunks(u)
        query, key, gain, decay = self._project(padded)
        value = functional.pad(self._heads(padded), (0, 1), value=1.0)  # whose sum is n
        log_decay, log_gain = self._log_forget(decay), _clip(gain)
        # y is the same at any scale, so it has no gradient with respect to it
        scale = running_maximum(log_decay, log_gain).detach()
        sums = decayed_attention(query, key, value, log_decay, log_gain, scale)
        weight = torch.maximum(sums[..., -1:].abs(), torch.exp(-scale)[..., None])
        y = sums[..., :-1] / weight
        return y.flatten(2)[:, : u.shape[1]] + self.skip * u

    def step(self, u: Tensor, state: ExponentialState) -> tuple[Tensor, ExponentialState]:
        c, n, m = state
        query, key, gain_logit, decay_logit = self._project(u)
        gain = torch.exp(_clip(gain_logit)).reshape(m.shape)
        kept = self._forget(decay_logit).reshape(m.shape) * m
        m = torch.maximum(kept, gain)
        decay, gain = kept / m, gain / m
        value = gain * u.reshape(-1, *self.value_shape)
        y, c = decayed_attention_step(query, key, value, decay, c)
        weight, n = decayed_attention_step(query, key, gain, decay, n)
        y = y * (m / torch.clamp(weight.abs() * m, min=1.0))
        return y.reshape(u.shape) + self.skip * u, ExponentialState(c, n, m)

    def initial_state(self, batch_size: int) -> ExponentialState:
        key_dim, (n_heads, width) = self.widths[0], self.value_shape
        return ExponentialState(
            c=self._zeros(batch_size, key_dim, n_heads, width),
            n=self._zeros(batch_size, key_dim, n_heads, 1),
            m=self._zeros(batch_size, n_heads, 1),
        )


def _clip(logit: Tensor) -> Tensor:
    return functional.hardtanh(logit, -MAX_LOGIT, MAX_LOGIT)
