"""Swin transformer (Liu et al. 2021): attention within windows of a grid of tokens, the windows
shifted by half in every other block, four tokens merged into one between stages."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.bricks.vit import Mlp

_MASKED = -100.0


class WindowAttention(nn.Module):
    """Windows [..., w * w, D] -> the same, with a bias by relative position."""

    relative_position_index: Tensor

    def __init__(self, dim: int, window: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        table = torch.zeros((2 * window - 1) ** 2, n_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        index = relative_index(window)
        self.register_buffer("relative_position_index", index, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, n windows, w * w, D], mask [n windows, w * w, w * w]."""
        query, key, value = (
            self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).transpose(2, 4).unbind(3)
        )
        bias = self.relative_position_bias_table[self.relative_position_index].movedim(-1, 0)
        bias = bias if mask is None else bias + mask[:, None]
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.proj(y.transpose(2, 3).flatten(3))
        return out


class SwinBlock(nn.Module):
    """Tokens [B, side * side, D], row-major -> the same shape."""

    attn_mask: Tensor | None

    def __init__(
        self, dim: int, side: int, n_heads: int, window: int, shifted: bool, mlp_ratio: float
    ) -> None:
        super().__init__()
        self.side, self.window = side, min(side, window)
        self.shift = window // 2 if shifted and side > window else 0
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, self.window, n_heads)
        self.mlp = Mlp(dim, int(mlp_ratio * dim))
        mask = shift_mask(side, self.window, self.shift) if self.shift else None
        self.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        grid = self.norm1(x).unflatten(1, (self.side, self.side))
        grid = torch.roll(grid, (-self.shift, -self.shift), (1, 2))
        windows = self.attn(cut(grid, self.window), self.attn_mask)
        grid = torch.roll(join(windows, self.side), (self.shift, self.shift), (1, 2))
        x = x + grid.flatten(1, 2)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchMerging(nn.Module):
    """Tokens [B, side * side, D] -> [B, side * side / 4, 2 D]."""

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        grid = x.unflatten(1, (self.side // 2, 2, self.side // 2, 2))  # rows, odd, columns, odd
        merged = grid.permute(0, 1, 3, 4, 2, 5).flatten(3).flatten(1, 2)
        out: Tensor = self.reduction(self.norm(merged))
        return out


class SwinStage(nn.Module):
    """Blocks, and the merging behind them."""

    def __init__(
        self,
        dim: int,
        side: int,
        depth: int,
        n_heads: int,
        window: int,
        mlp_ratio: float,
        merges: bool,
    ) -> None:
        super().__init__()
        block = partial(SwinBlock, dim, side, n_heads, window, mlp_ratio=mlp_ratio)
        self.blocks = nn.ModuleList(block(shifted=index % 2 == 1) for index in range(depth))
        self.downsample = PatchMerging(dim, side) if merges else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


def relative_index(window: int) -> Tensor:
    """[w * w, w * w]: the row of the bias table for a query and a key of a window."""
    place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = place[:, None] - place[None, :] + window - 1
    return offset[..., 0] * (2 * window - 1) + offset[..., 1]


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """[n windows, w * w, w * w]: what was apart before the shift does not attend to each other."""
    place = torch.arange(side)
    region = (place >= side - window).long() + (place >= side - shift).long()
    regions = cut((3 * region[:, None] + region)[None, ..., None], window)[0, ..., 0]
    return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, _MASKED)


def cut(grid: Tensor, window: int) -> Tensor:
    """[B, H, W, D] -> windows [B, n, w * w, D], row-major."""
    parts = grid.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # B, y, w, x, w, D
    out: Tensor = parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return out


def join(windows: Tensor, side: int) -> Tensor:
    """What `cut` made, put together again: [B, side, side, D]."""
    window = round(windows.shape[2] ** 0.5)
    n = side // window
    parts = windows.unflatten(2, (window, window)).unflatten(1, (n, n))
    out: Tensor = parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return out
