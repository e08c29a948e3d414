"""AST's network (Gong et al. 2021), after DeiT (Touvron et al. 2021): two summary tokens, patches
frequency-major, and a head on tokens of their mean. SSAST, AST and PaSST have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.bricks import vit

N_SUMMARY = 2  # classification and distillation


class DeiT(nn.Module):
    """Maps [B, D, F, T] of patches -> hidden states [B, 2 + F * T, D]."""

    def __init__(
        self, architecture: Mapping[str, Any], n_rows: int, patch: tuple[int, int]
    ) -> None:
        super().__init__()
        dim = architecture["embed_dim"]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, n_rows, dim))
        stride = (architecture["fstride"], architecture["tstride"])
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, patch, stride)})
        self.blocks = vit.blocks(architecture)
        self.norm = nn.LayerNorm(dim, 1e-6)

    def maps(self, features: Tensor) -> Tensor:
        """features [B, T, bands] -> [B, D, F, T]."""
        out: Tensor = self.patch_embed["proj"](features.transpose(1, 2)[:, None])
        return out

    def forward(self, maps: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        """positions [1, 2 + F * T, D]."""
        summaries = torch.cat([self.cls_token, self.dist_token], 1).expand(len(maps), -1, -1)
        tokens = torch.cat([summaries, maps.flatten(2).transpose(1, 2)], 1)
        return vit.run(self.blocks, tokens + positions)

    def encode(
        self, features: Tensor, grid: tuple[int, int]
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """features, and the grid of the trained positions -> hidden states, the last of them
        normalised, and the positions that were added."""
        maps = self.maps(features)
        positions = self.stretched(grid, *maps.shape[2:])
        hidden = self(maps, positions)
        return hidden, self.norm(hidden[-1]), positions

    def stretched(self, grid: tuple[int, int], n_bands: int, n_columns: int) -> Tensor:
        """The trained positions, of a grid (bands, columns), for another one."""
        return stretched(self.pos_embed, N_SUMMARY, grid, n_bands, n_columns)


def stretched(
    table: Tensor, n_summary: int, grid: tuple[int, int], n_bands: int, n_columns: int
) -> Tensor:
    """Positions [1, n_summary + F * T, D] of a grid (F, T), for another one: the middle is cut out
    where it is smaller, and it is stretched where it is larger."""
    rows = table[:, n_summary:].transpose(1, 2).unflatten(2, grid)
    rows = _cut_or_stretch(rows, 3, n_columns)
    rows = _cut_or_stretch(rows, 2, n_bands)
    return torch.cat([table[:, :n_summary], rows.flatten(2).transpose(1, 2)], 1)


def _cut_or_stretch(rows: Tensor, axis: int, size: int) -> Tensor:
    """One axis of [1, D, F, T] -> size."""
    trained = rows.shape[axis]
    if size < trained:
        return rows.narrow(axis, trained // 2 - size // 2, size)
    target = (size, rows.shape[3]) if axis == 2 else (rows.shape[2], size)
    return functional.interpolate(rows, target, mode="bilinear", align_corners=False)


def head(dim: int, n_labels: int) -> nn.Sequential:
    """LayerNorm and a linear layer."""
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, n_labels))
