"""The mLSTM layer of the xLSTM (Beck et al. 2024), in its authors' names and parallel form.

The students' mLSTM (`distill/students/mlstm.py`) has the same cell; its heads share queries and
keys, which are projections of its input alone, its forget gate stays below one, and nothing
convolves before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-6
_BLOCK = 4  # channels that a projection to queries, keys and values mixes


class OffsetNorm(nn.Module):
    """LayerNorm without bias, whose stored weight w stands for 1 + w; over each of n_heads groups
    of channels apart."""

    def __init__(self, dim: int, n_heads: int = 1) -> None:
        super().__init__()
        self.weight, self.n_heads = nn.Parameter(torch.zeros(dim)), n_heads

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (self.n_heads, -1))
        return functional.layer_norm(heads, heads.shape[-1:]).flatten(-2) * (1.0 + self.weight)


class BlockLinear(nn.Module):
    """A matrix for every 4 channels of [B, T, D]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim // _BLOCK, _BLOCK, _BLOCK))

    def forward(self, x: Tensor) -> Tensor:
        blocks = x.unflatten(2, (-1, _BLOCK))
        out: Tensor = torch.einsum("boi,ntbi->ntbo", self.weight, blocks).flatten(2)
        return out


def mlstm_cell(query: Tensor, key: Tensor, value: Tensor, gain: Tensor, forget: Tensor) -> Tensor:
    """query, key, value [B, H, T, d], logits of the exponential input gate and of the sigmoid
    forget gate [B, H, T, 1] -> [B, H, T, d], all steps at once."""
    decay = functional.logsigmoid(forget).cumsum(2)
    exponent = decay - decay.transpose(2, 3) + gain.transpose(2, 3)  # row t, column s
    later = torch.ones_like(exponent[0, 0], dtype=torch.bool).triu(1)
    exponent = exponent.masked_fill(later, -torch.inf)
    largest = exponent.amax(3, keepdim=True)
    scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5 * (exponent - largest).exp()
    weight = torch.maximum(scores.sum(3, keepdim=True).abs(), torch.exp(-largest))
    out: Tensor = scores @ value / (weight + _EPS)
    return out


class Cell(nn.Module):
    """Gates of queries, keys and values, the cell, and a norm for each head."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.igate, self.fgate = nn.Linear(3 * dim, n_heads), nn.Linear(3 * dim, n_heads)
        self.outnorm, self.n_heads = OffsetNorm(dim, n_heads), n_heads

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """[B, T, D] each."""
        together = torch.cat([query, key, value], 2)
        gates = (gate(together).transpose(1, 2)[..., None] for gate in (self.igate, self.fgate))
        heads = (
            part.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        out: Tensor = self.outnorm(mlstm_cell(*heads, *gates).transpose(1, 2).flatten(2))
        return out


class CausalConv(nn.Module):
    """Depthwise over [B, T, D]."""

    def __init__(self, dim: int, kernel: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel - 1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        return out


class MLSTMLayer(nn.Module):
    """[B, T, D] -> [B, T, D], without norm and shortcut."""

    def __init__(self, dim: int, inner_dim: int, n_heads: int = 4) -> None:
        super().__init__()
        self.proj_up = nn.Linear(dim, 2 * inner_dim, bias=False)
        self.proj_down = nn.Linear(inner_dim, dim, bias=False)
        self.conv1d = CausalConv(inner_dim)
        self.q_proj, self.k_proj, self.v_proj = (BlockLinear(inner_dim) for _ in "qkv")
        self.mlstm_cell = Cell(inner_dim, n_heads)
        self.learnable_skip = nn.Parameter(torch.ones(inner_dim))

    def forward(self, x: Tensor) -> Tensor:
        x, z = self.proj_up(x).chunk(2, dim=2)
        c = functional.silu(self.conv1d(x))
        heard = self.mlstm_cell(self.q_proj(c), self.k_proj(c), self.v_proj(x))
        out: Tensor = self.proj_down((heard + self.learnable_skip * c) * functional.silu(z))
        return out
