"""OMAR-RQ (Alonso-Jimenez et al. 2025): a DeepNorm Conformer over patches of four mel frames,
whose attention is causal and whose convolutions are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks.conformer import (
    ConvModule,
    FeedForward,
    Style,
    rotary_angles,
    rotate_pairs,
)
from distill.teachers.bricks.mel import StftBank, hertz_triangles
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, Card, State, System, n_layers

FFT_SIZE, HOP_SAMPLES, N_MELS, PATCH_FRAMES = 512, 256, 96, 4
_MEAN, _STD = 2.06755686098554, 1.268292820667291
_KERNEL = 31  # whatever the configuration says
_STYLE = Style(functional.gelu, bias=True, eps=6.1e-5)


class Attention(nn.Module):
    """Causal, with rotary positions."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.freqs = nn.Parameter(torch.zeros(dim // n_heads // 2))

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        angles = rotary_angles(x.shape[1], self.freqs)
        query, key = rotate_pairs(qkv[:2], angles)
        y = functional.scaled_dot_product_attention(query, key, qkv[2], is_causal=True)
        return cast("Tensor", self.proj(y.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """Attention hears its input without a norm; `alpha` weighs the shortcut around it."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, self.alpha = architecture["embed_dim"], architecture["alpha_deepnorm"]
        self.scale = architecture["mlp_residual_factor"]
        hidden_dim = round(dim * architecture["mlp_ratio"])
        self.ff1, self.ff2 = (FeedForward(dim, hidden_dim, _STYLE) for _ in range(2))
        self.attention = Attention(dim, architecture["num_heads"])
        self.conv_block = ConvModule(dim, _KERNEL, _STYLE)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * self.ff1(x)
        x = self.norm1(self.alpha * x + self.attention(x))
        x = x + self.conv_block(x)
        return cast("Tensor", self.norm2(x + self.scale * self.ff2(x)))


class OmarRQ(Network):
    """features [B, 96, T]; hidden: the embedded patches of 64 ms, then each layer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, max_hz = architecture["embed_dim"], self.sample_rate_hz / 2
        triangles = hertz_triangles(self.sample_rate_hz, FFT_SIZE, N_MELS, 0.0, max_hz, slaney=True)
        self.bank = StftBank(triangles, FFT_SIZE, HOP_SAMPLES)
        self.min_samples = PATCH_FRAMES * HOP_SAMPLES
        self.embedding_layer = nn.Linear(N_MELS * PATCH_FRAMES, dim)
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture["depth"]))

    def features(self, waveform: Tensor) -> Tensor:
        out: Tensor = ((1.0 + 10_000.0 * self.bank(waveform)).log10() - _MEAN) / _STD
        return out

    def encode(self, features: Tensor) -> Encoded:
        whole = features.shape[2] // PATCH_FRAMES * PATCH_FRAMES
        pieces = features[..., :whole].unflatten(2, (-1, PATCH_FRAMES))
        embedded = self.embedding_layer(pieces.transpose(1, 2).flatten(2))
        hidden = (embedded, *states(self.layers, embedded))
        return Encoded(hidden, hidden[-1])

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        hop_s = HOP_SAMPLES / self.sample_rate_hz
        return Timing(PATCH_FRAMES * hop_s, (PATCH_FRAMES - 1) / 2 * hop_s)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    dim = len(state["embedding_layer.weight"])
    return {
        "embed_dim": dim,
        "depth": n_layers(state, "layers"),
        "mlp_ratio": len(state["layers.0.ff1.expand.weight"]) / dim,
        "num_heads": dim // (2 * len(state["layers.0.attention.freqs"])),
    }


SYSTEM = System(
    card=Card(
        title="OMAR-RQ (mel input)",
        paper="Alonso-Jimenez et al. 2025, OMAR-RQ: Open Music Audio Representation Model Trained "
        "with Multi-Feature Masked Token Prediction",
        code_licence="AGPL-3.0",
        weights_licence="CC BY-NC-SA 4.0",
        non_commercial=True,
        checkpoints=("mtg-upf/omar-rq-base", "mtg-upf/omar-rq-multicodebook"),
        sizes={"base": {}},
    ),
    build=OmarRQ,
    defaults={
        "embed_dim": 1024,
        "depth": 24,
        "num_heads": 8,
        "mlp_ratio": 4,
        "mlp_residual_factor": 4.0,
        "alpha_deepnorm": 2.6321480259049848,
    },
    infer=_infer,
    anchor="embedding_layer.weight",
    keys=(
        ("net", ""),
        ("attention.rotary_emb.freqs", "attention.freqs"),
        ("norm1.layer_norm", "norm1"),
        *(
            (f"{part}.module.{theirs}", f"{part}.{ours}")
            for part in ("ff1", "ff2")
            for theirs, ours in (("0", "norm"), ("1", "expand"), ("4", "contract"))
        ),
        ("conv_block.layer_norm", "conv_block.norm"),
        *(
            (f"conv_block.module.{theirs}", f"conv_block.{ours}")
            for theirs, ours in (
                ("0", "widen"),
                ("2", "depthwise"),
                ("3", "batch_norm"),
                ("5", "project"),
            )
        ),
    ),
)
