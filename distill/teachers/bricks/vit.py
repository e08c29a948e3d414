"""One transformer encoder over tokens, as the vision transformers of audio have it.

Dosovitskiy et al. 2021; the keys are those of timm: `blocks.i.norm1`, `.attn.qkv`,
`.attn.proj`, `.norm2`, `.mlp.fc1`, `.mlp.fc2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.published.network import states
from distill.teachers.published.system import n_layers

HEAD_DIM = 64
"""Of every published size; a file does not say how many heads share its width."""
BASE: Mapping[str, Any] = {
    "embed_dim": 768,
    "depth": 12,
    "num_heads": None,
    "mlp_ratio": 4,
    "norm_eps": 1e-6,
}
"""ViT-B, as most systems have it; see `blocks`."""


class Attention(nn.Module):
    """Softmax attention; one matrix makes queries, keys and values in this order."""

    def __init__(self, dim: int, n_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x [B, N, D]; bias: added to the scores, which are [B, heads, N, N]."""
        qkv = self.qkv(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A factor for each channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Attention and MLP, each with a shortcut; norms before them, or behind the sums."""

    def __init__(
        self,
        dim: int,
        n_heads: int,
        hidden_dim: int,
        eps: float,
        qkv_bias: bool = True,
        post_norm: bool = False,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = Attention(dim, n_heads, qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, hidden_dim)
        self.ls1 = LayerScale(dim) if scaled else nn.Identity()
        self.ls2 = LayerScale(dim) if scaled else nn.Identity()

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.post_norm:
            x = self.norm1(x + self.ls1(self.attn(x, bias)))
            return cast("Tensor", self.norm2(x + self.ls2(self.mlp(x))))
        x = x + self.ls1(self.attn(self.norm1(x), bias))
        return cast("Tensor", x + self.ls2(self.mlp(self.norm2(x))))


def blocks(architecture: Mapping[str, Any], **options: Any) -> nn.ModuleList:
    """The blocks of an architecture that names embed_dim, depth, num_heads (None: by their usual
    width), mlp_ratio and norm_eps."""
    dim = architecture["embed_dim"]
    n_heads = architecture.get("num_heads") or dim // HEAD_DIM
    hidden_dim = round(dim * architecture.get("mlp_ratio", 4))
    eps, depth = architecture["norm_eps"], architecture["depth"]
    return nn.ModuleList(Block(dim, n_heads, hidden_dim, eps, **options) for _ in range(depth))


def run(layers: nn.ModuleList, x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """The input of the first block and the output of every block."""
    return (x, *states(layers, x, bias))


def sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """embed_dim, depth and mlp_ratio of a state with the keys of `Block`, {} without any."""
    depth = n_layers(state, "blocks")
    if not depth or "blocks.0.mlp.fc1.weight" not in state:
        return {}
    hidden_dim, dim = state["blocks.0.mlp.fc1.weight"].shape
    return {"embed_dim": dim, "depth": depth, "mlp_ratio": hidden_dim // dim}
