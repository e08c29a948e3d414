"""Parts of a Conformer (Gulati et al. 2020), in the two forms of music models: everything is
[B, T, D]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]


class Style(NamedTuple):
    """In what Conformers differ. bias: of the convolutions. eps: of the norms."""

    activation: Activation
    bias: bool
    eps: float


class FeedForward(nn.Module):
    """Norm and two linear layers."""

    def __init__(self, dim: int, hidden_dim: int, style: Style) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, style.eps)
        self.expand, self.contract = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.activation = style.activation

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.contract(self.activation(self.expand(self.norm(x)))))


class ConvModule(nn.Module):
    """Norm, gate, depthwise convolution over time that looks as far ahead as back, batch norm."""

    def __init__(self, dim: int, kernel: int, style: Style) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, style.eps)
        self.widen = nn.Conv1d(dim, 2 * dim, 1, bias=style.bias)
        self.depthwise = nn.Conv1d(
            dim, dim, kernel, padding=kernel // 2, groups=dim, bias=style.bias
        )
        self.batch_norm = nn.BatchNorm1d(dim, style.eps)
        self.project = nn.Conv1d(dim, dim, 1, bias=style.bias)
        self.activation = style.activation

    def forward(self, x: Tensor) -> Tensor:
        y = functional.glu(self.widen(self.norm(x).transpose(1, 2)), 1)
        y = self.project(self.activation(self.batch_norm(self.depthwise(y))))
        return cast("Tensor", y.transpose(1, 2))


def rotary_angles(n_frames: int, rates: Tensor) -> Tensor:
    """[T, rates]: position times rate."""
    return torch.arange(n_frames, device=rates.device)[:, None] * rates


def rotate_halves(x: Tensor, angles: Tensor) -> Tensor:
    """[..., T, d] whose halves are the two coordinates of d / 2 planes."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat(_turned(a, b, angles), -1)


def rotate_pairs(x: Tensor, angles: Tensor) -> Tensor:
    """[..., T, d] whose neighbours are the two coordinates of d / 2 planes."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack(_turned(a, b, angles), -1).flatten(-2)


def _turned(a: Tensor, b: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """The two coordinates, turned by the angles."""
    cos, sin = angles.cos(), angles.sin()
    return a * cos - b * sin, b * cos + a * sin
