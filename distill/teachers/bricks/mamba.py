"""Mamba's selective state space (Gu, Dao 2023) in one or two directions, under the names of its
authors: `in_proj`, `conv1d`, `x_proj`, `dt_proj`, `A_log`, `D`, `out_proj`.

Unlike the students' (`distill/students/selective.py`, after Mamba-2) every channel and every
number of its state decays at a rate of its own, and the input's weight is the step size itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.published.system import n_layers

Directions = Literal["none", "v1", "v2"]
"""Forwards alone; Vim's "v1": both ways over the same projections; "v2": a second set of weights
for the way back."""


def selective_scan(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor]:
    """s[t] = exp(delta[t] a) s[t-1] + delta[t] x[t] b[t], y[t] = c[t] . s[t], from s = 0.

    x, delta [..., L, D], b, c [..., L, N], a [..., D, N], negative -> y [..., L, D] and the last
    s [..., D, N]. Axes in front may stand for directions.
    """
    driven = delta * x
    state = torch.zeros_like(driven[..., 0, :, None] * b[..., 0, None, :])
    outputs = []
    for t in range(x.shape[-2]):
        decay = torch.exp(delta[..., t, :, None] * a)
        state = decay * state + driven[..., t, :, None] * b[..., t, None, :]
        outputs.append((state * c[..., t, None, :]).sum(-1))
    return torch.stack(outputs, -2), state


class _Way(nn.Module):
    """Convolution and projections of one direction."""

    def __init__(self, dim: int, rank: int, n_states: int, kernel: int) -> None:
        super().__init__()
        self.widths = [rank, n_states, n_states]
        self.conv1d = nn.Conv1d(dim, dim, kernel, padding=kernel - 1, groups=dim)
        self.x_proj = nn.Linear(dim, sum(self.widths), bias=False)
        self.dt_proj = nn.Linear(rank, dim)
        self.D = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, L, D] -> what the scan takes: x, delta, b, c."""
        y = self.conv1d(x.transpose(1, 2))[..., : x.shape[1]]
        y = functional.silu(y).transpose(1, 2)
        step, b, c = self.x_proj(y).split(self.widths, dim=2)
        return y, functional.softplus(self.dt_proj(step)), b, c


class MambaMixer(nn.Module):
    """[B, L, D] -> [B, L, D], without norm and shortcut. halves: "v2" takes the mean of both
    directions instead of their sum."""

    def __init__(
        self,
        dim: int,
        n_states: int,
        kernel: int = 4,
        expand: int = 2,
        directions: Directions = "none",
        halves: bool = True,
    ) -> None:
        super().__init__()
        inner, rank = expand * dim, math.ceil(dim / 16)
        self.directions = directions
        self.scale = 0.5 if halves and directions == "v2" else 1.0
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self.ways = nn.ModuleList(
            _Way(inner, rank, n_states, kernel) for _ in range(2 if directions == "v2" else 1)
        )
        n_ways = 1 if directions == "none" else 2
        log_rates = torch.arange(1.0, n_states + 1.0).log().repeat(inner, 1)
        self.A_logs = nn.ParameterList(nn.Parameter(log_rates.clone()) for _ in range(n_ways))

    def forward(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, dim=2)
        ways = [way(x) for way in self.ways[:1]]
        if self.directions == "v1":
            ways.append([part.flip(1) for part in ways[0]])
        elif self.directions == "v2":
            ways.append(self.ways[1](x.flip(1)))
        rates = -torch.stack(list(self.A_logs)).exp()[:, None]  # [ways, 1, D, N]
        heard, delta, b, c = (torch.stack(list(part)) for part in zip(*ways, strict=True))
        y, _ = selective_scan(heard, delta, rates, b, c)
        skips = torch.stack(
            [cast("_Way", self.ways[way % len(self.ways)]).D for way in range(len(y))]
        )
        y = y + skips[:, None, None] * heard
        both = y[0] if len(y) == 1 else y[0] + y[1].flip(1)
        out: Tensor = self.out_proj(self.scale * both * functional.silu(z))
        return out


class Layer(nn.Module):
    """x + mixer(norm(x))."""

    def __init__(self, norm: nn.Module, mixer: MambaMixer) -> None:
        super().__init__()
        self.norm, self.mixer = norm, mixer

    def forward(self, x: Tensor) -> Tensor:
        return x + cast("Tensor", self.mixer(self.norm(x)))


KEYS = (
    *((f"mixer.{name}", f"mixer.ways.0.{name}") for name in ("conv1d", "x_proj", "dt_proj", "D")),
    *((f"mixer.{name}_b", f"mixer.ways.1.{name}") for name in ("conv1d", "x_proj", "dt_proj", "D")),
    ("mixer.A_log", "mixer.A_logs.0"),
    ("mixer.A_b_log", "mixer.A_logs.1"),
)
"""(theirs, ours)."""


def sizes(state: Mapping[str, Tensor], layers: str) -> dict[str, Any]:
    """What the weights under our names tell: depth, embed_dim, d_state, expand, bimamba_type."""
    mixer = f"{layers}.0.mixer"
    inner, n_states = state[f"{mixer}.A_logs.0"].shape
    dim = len(state[f"{mixer}.out_proj.weight"])
    both = f"{mixer}.A_logs.1" in state
    directions = "v2" if f"{mixer}.ways.1.D" in state else "v1" if both else "none"
    return {
        "depth": n_layers(state, layers),
        "embed_dim": dim,
        "bimamba_type": directions,
        "ssm_cfg": {
            "d_state": n_states,
            "d_conv": state[f"{mixer}.ways.0.conv1d.weight"].shape[2],
            "expand": inner // dim,
        },
    }
