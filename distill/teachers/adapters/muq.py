"""MuQ (Zhu et al. 2025): a Conformer with rotary positions over a log-mel of music."""

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
    rotate_halves,
)
from distill.teachers.bricks.mel import StftBank, decibels, hertz_triangles
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

FFT_SIZE = 2048
_STYLE = Style(functional.silu, bias=False, eps=1e-5)


class ResidualConv(nn.Module):
    """[B, C, F, T] -> [B, C', F / 2, T / stride]."""

    def __init__(self, c_in: int, channels: int, time_stride: int) -> None:
        super().__init__()
        stride = 2, time_stride
        self.conv1 = nn.Conv2d(c_in, channels, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv3 = nn.Conv2d(c_in, channels, 3, stride, 1)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.bn3(self.conv3(x)))


class Attention(nn.Module):
    """The rotation is that of the input, before it is projected to queries and keys."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.linear_q, self.linear_k, self.linear_v = (nn.Linear(dim, dim) for _ in "qkv")
        self.linear_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        rotated = rotate_halves(self._heads(x), angles).transpose(1, 2).flatten(2)
        query, key = self._heads(self.linear_q(rotated)), self._heads(self.linear_k(rotated))
        y = functional.scaled_dot_product_attention(query, key, self._heads(self.linear_v(x)))
        return cast("Tensor", self.linear_out(y.transpose(1, 2).flatten(2)))

    def _heads(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)
        return out


class Layer(nn.Module):
    """Half a feed-forward part at either end."""

    def __init__(self, dim: int, hidden_dim: int, n_heads: int, kernel: int) -> None:
        super().__init__()
        self.ffn1, self.ffn2 = (FeedForward(dim, hidden_dim, _STYLE) for _ in range(2))
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.self_attn = Attention(dim, n_heads)
        self.conv_module = ConvModule(dim, kernel, _STYLE)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        x = x + 0.5 * self.ffn1(x)
        x = x + self.self_attn(self.self_attn_layer_norm(x), angles)
        x = x + self.conv_module(x)
        return cast("Tensor", self.final_layer_norm(x + 0.5 * self.ffn2(x)))


class MuQ(Network):
    """features [B, 128, T]; hidden: the convolutions' output, then each layer, the last one
    through the final norm. others: logits over the codes of pre-training."""

    sample_rate_hz = 24_000

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, channels = architecture["encoder_dim"], architecture["conv_dim"]
        depth = architecture["encoder_depth"]
        settings, n_mels = architecture["w2v2_config"], architecture["n_mels"]
        self.mean, self.std = (architecture["stat"][f"melspec_2048_{n}"] for n in ("mean", "std"))
        hop = architecture["hop_length"]
        self.hop_s = hop / self.sample_rate_hz
        self.min_samples = FFT_SIZE
        triangles = hertz_triangles(
            self.sample_rate_hz, FFT_SIZE, n_mels, 0.0, self.sample_rate_hz / 2
        )
        self.bank = StftBank(triangles, FFT_SIZE, hop)
        self.stride = round(1.0 / self.hop_s / architecture["label_rate"])
        convs = ResidualConv(1, channels, 2), ResidualConv(channels, channels, self.stride // 2)
        self.conv = nn.ModuleDict(
            {
                "conv": nn.Sequential(*convs),
                "linear": nn.Linear(channels * n_mels // 4, dim),
            }
        )
        n_heads, kernel = settings["num_attention_heads"], settings["conv_depthwise_kernel_size"]
        layers = (Layer(dim, settings["intermediate_size"], n_heads, kernel) for _ in range(depth))
        inv_freq = torch.zeros(dim // n_heads // 2)
        self.conformer = nn.ModuleDict(
            {
                "layers": nn.ModuleList(layers),
                "layer_norm": nn.LayerNorm(dim),
                "embed_positions": nn.ParameterDict({"inv_freq": nn.Parameter(inv_freq)}),
            }
        )
        n_codes = architecture["codebook_size"]
        self.linear = nn.Linear(dim, n_codes) if n_codes else None

    def features(self, waveform: Tensor) -> Tensor:
        out: Tensor = (decibels(self.bank(waveform))[..., :-1] - self.mean) / self.std
        return out

    def encode(self, features: Tensor) -> Encoded:
        maps = self.conv["conv"](features[:, None])
        x = self.conv["linear"](maps.permute(0, 3, 1, 2).flatten(2))
        layers = cast("nn.ModuleList", self.conformer["layers"])
        hidden = (x, *states(layers, x, rotary_angles(x.shape[1], self._rates)))
        output = self.conformer["layer_norm"](hidden[-1])

        def others() -> dict[str, Tensor]:
            logits = {} if self.linear is None else {"token_logits": self.linear(output)}
            return {"conv_output": x, **logits}

        return Encoded((*hidden[:-1], output), output, others=others)

    @property
    def _rates(self) -> Tensor:
        out: Tensor = cast("nn.ParameterDict", self.conformer["embed_positions"])["inv_freq"]
        return out

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        """Strided convolutions are centred on the first frame of each step."""
        return Timing(self.stride * self.hop_s, 0.0)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    return {**config, "codebook_size": n_rows(state, "linear.weight")}


SYSTEM = System(
    card=Card(
        title="MuQ",
        paper="Zhu et al. 2025, MuQ: Self-Supervised Music Representation Learning with Mel "
        "Residual Vector Quantization",
        code_licence="MIT",
        weights_licence="CC BY-NC 4.0",
        non_commercial=True,
        checkpoints=("OpenMuQ/MuQ-large-msd-iter",),
        sizes={"large": {}},
    ),
    build=MuQ,
    defaults={
        "label_rate": 25,
        "hop_length": 240,
        "n_mels": 128,
        "conv_dim": 512,
        "encoder_dim": 1024,
        "encoder_depth": 12,
        "codebook_size": 0,
        "stat": {
            "melspec_2048_mean": 6.768444971712967,
            "melspec_2048_std": 18.417922652295623,
        },
        "w2v2_config": {
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "conv_depthwise_kernel_size": 31,
        },
    },
    infer=_infer,
    anchor="conv.conv.0.conv1.weight",
    keys=(
        ("ffn1_layer_norm", "ffn1.norm"),
        ("ffn2_layer_norm", "ffn2.norm"),
        ("intermediate_dense", "expand"),
        ("output_dense", "contract"),
        ("conv_module.layer_norm", "conv_module.norm"),
        ("pointwise_conv1", "widen"),
        ("depthwise_conv", "depthwise"),
        ("pointwise_conv2", "project"),
    ),
    ignored=(r"cls_token", r"quantizer_", r"rvq", r".*pos_conv_embed"),
)
