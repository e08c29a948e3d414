"""The encoder: a vision transformer over log-mel patches (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from distill.pretraining.recipe import EncoderConfig


def take(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Of tokens [..., N, D] those of these numbers [..., K] -> [..., K, D]."""
    return tokens.gather(-2, numbers[..., None].expand(*numbers.shape, tokens.shape[-1]))


class Block(nn.Module):
    """Self-attention and an MLP, each added to its input, with a LayerNorm before it or behind the
    sum."""

    def __init__(self, dim: int, n_heads: int, mlp_ratio: float, post_norm: bool = False) -> None:
        super().__init__()
        self.n_heads, self.post_norm = n_heads, post_norm
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        hidden = int(mlp_ratio * dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor, attend: Tensor | None = None) -> Tensor:
        """[B, L, D] -> [B, L, D]; attend [B, L]: the tokens that others may look at."""
        if self.post_norm:
            x = self.attention_norm(x + self._attention(x, attend))
            return cast("Tensor", self.mlp_norm(x + self.mlp(x)))
        x = x + self._attention(self.attention_norm(x), attend)
        return x + cast("Tensor", self.mlp(self.mlp_norm(x)))

    def _attention(self, x: Tensor, attend: Tensor | None) -> Tensor:
        heads = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))  # [B, L, 3, heads, D / heads]
        query, key, value = heads.transpose(1, 3).unbind(2)
        mask = None if attend is None else attend[:, None, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class PatchEncoder(nn.Module):
    """Log-mel [B, T, n_mels] -> hidden states of every block.

    Patches are numbered position by position: patch `position * n_bands + band` covers
    patch_frames frames of time and patch_mels bands, counted from the lowest.
    """

    frequencies: Tensor

    def __init__(self, config: EncoderConfig, recompute: bool = False) -> None:
        super().__init__()
        self.config, self.recompute = config, recompute
        self.embed = nn.Linear(config.patch_mels * config.patch_frames, config.dim)
        self.band = nn.Parameter(torch.empty(config.n_bands, config.dim))
        self.summary = nn.Parameter(torch.empty(config.dim))
        shape = config.dim, config.n_heads, config.mlp_ratio, config.post_norm
        self.embed_norm = nn.LayerNorm(config.dim) if config.post_norm else nn.Identity()
        self.blocks = nn.ModuleList(Block(*shape) for _ in range(config.n_blocks))
        exponents = torch.arange(config.dim // 2) / (config.dim // 2)
        self.register_buffer("frequencies", 10_000.0**-exponents, persistent=False)
        nn.init.trunc_normal_(self.band, std=0.02)
        nn.init.trunc_normal_(self.summary, std=0.02)

    def forward(
        self,
        mels: Tensor,
        first_position: Tensor | int = 0,
        attend: Tensor | None = None,
        numbers: Tensor | None = None,
    ) -> list[Tensor]:
        """[B, T, n_mels] -> see `encode`; arguments as of `tokens` and `encode`. numbers [B, K]:
        the patches that are encoded, all of them by default."""
        tokens = self.tokens(mels, first_position)
        return self.encode(tokens if numbers is None else take(tokens, numbers), attend)

    def patches(self, mels: Tensor) -> Tensor:
        """[B, T, n_mels] -> [B, N, patch_frames * patch_mels]; frames beyond the last whole
        patch are left out."""
        config = self.config
        n_positions = mels.shape[1] // config.patch_frames
        whole = mels[:, : n_positions * config.patch_frames]
        grid = whole.unflatten(1, (n_positions, config.patch_frames))
        grid = grid.unflatten(-1, (config.n_bands, config.patch_mels))
        out: Tensor = grid.transpose(2, 3).flatten(3).flatten(1, 2)
        return out

    def tokens(self, mels: Tensor, first_position: Tensor | int = 0) -> Tensor:
        """[B, T, n_mels] -> [B, N, D]: embedded patches that know their place; the clip's first
        patch is at first_position ([B] or one for all)."""
        patches = self.embed(self.patches(mels))
        positions = torch.arange(patches.shape[1] // self.config.n_bands, device=mels.device)
        first = torch.as_tensor(first_position, device=mels.device).reshape(-1, 1)
        angles = (first + positions)[..., None] * self.frequencies
        time = torch.cat([angles.sin(), angles.cos()], dim=-1)  # Vaswani et al. 2017
        out: Tensor = patches + (time[:, :, None] + self.band).flatten(1, 2)
        return out

    def encode(self, tokens: Tensor, attend: Tensor | None = None) -> list[Tensor]:
        """Any of a clip's tokens [B, N, D] -> [B, 1 + N, D] after each block, the clip's summary
        token first. attend [B, N]: False for tokens that are padding."""
        summary = self.summary.expand(len(tokens), 1, -1)
        x = self.embed_norm(torch.cat([summary.to(tokens.dtype), tokens], dim=1))
        if attend is not None:
            attend = functional.pad(attend, (1, 0), value=True)
        hidden = []
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, attend, use_reentrant=False)
            else:
                x = block(x, attend)
            hidden.append(x)
        return hidden
