"""The control without a recurrence: a temporal convolutional network (Bai et al. 2018).

Two causal depthwise convolutions with a Hardswish between them, the second one dilated, so that
they see as far back as the other families remember. Everything seen is kept as state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.causal_conv import convolve
from distill.students.sequence_mixer import SequenceMixer
from edge_audio.bundle.spec import Spec


class ConvConfig(Spec, frozen=True, tag_field="kind", tag="conv"):
    """layers: (taps, dilation in steps) of each convolution."""

    layers: tuple[tuple[int, int], ...] = ((7, 1), (24, 4))

    def build(self, channels: int, token_s: float) -> CausalTCN:
        return CausalTCN(channels, self.layers)


class DilatedConv(nn.Module):
    """y[t] = sum_k weight[k] u[t - k dilation] + bias per channel; state: the last inputs."""

    def __init__(self, channels: int, n_taps: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.n_context = n_taps * dilation - 1
        self.weight = nn.Parameter(torch.randn(n_taps, channels) / math.sqrt(n_taps))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, u: Tensor) -> Tensor:
        """[B, T, D] -> the same."""
        n_steps = u.shape[1]
        spread = functional.pad(self.weight[:, None], (0, 0, 0, self.dilation - 1)).flatten(0, 1)
        kernel = functional.pad(spread, (0, 0, 0, max(0, n_steps - len(spread))))[:n_steps]
        return convolve(u, kernel) + self.bias

    def step(self, u: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """u [B, D], context [B, n_context, D], oldest first -> y [B, D], next context."""
        batch_size, channels = u.shape
        heard = torch.cat([context, u.reshape(batch_size, 1, channels)], dim=1)
        grid = heard.reshape(batch_size, -1, self.dilation, channels)
        taps = grid[:, :, self.dilation - 1 :].reshape(batch_size, -1, channels)
        y = (taps * self.weight.flip(0)).sum(1) + self.bias
        return y, heard[:, 1:]


class TCNState(NamedTuple):
    """context: of each convolution its last inputs [B, taps * dilation - 1, D], oldest first."""

    context: tuple[Tensor, ...]


class CausalTCN(SequenceMixer[TCNState]):
    """Convolutions one after the other, with a skip around all of them."""

    def __init__(self, channels: int, layers: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(DilatedConv(channels, *layer) for layer in layers)
        self.skip = nn.Parameter(torch.randn(channels))

    def forward(self, u: Tensor) -> Tensor:
        first, *others = self._convs()
        y = first(u)
        for conv in others:
            y = conv(functional.hardswish(y))
        out: Tensor = y + self.skip * u
        return out

    def step(self, u: Tensor, state: TCNState) -> tuple[Tensor, TCNState]:
        first, *others = self._convs()
        y, context = first.step(u, state.context[0])
        next_state = [context]
        for conv, before in zip(others, state.context[1:], strict=True):
            y, context = conv.step(functional.hardswish(y), before)
            next_state.append(context)
        return y + self.skip * u, TCNState(tuple(next_state))

    def initial_state(self, batch_size: int) -> TCNState:
        channels = len(self.skip)
        shapes = ((batch_size, conv.n_context, channels) for conv in self._convs())
        return TCNState(tuple(self.skip.new_zeros(shape) for shape in shapes))

    def _convs(self) -> Sequence[DilatedConv]:
        return cast("Sequence[DilatedConv]", self.convs)
