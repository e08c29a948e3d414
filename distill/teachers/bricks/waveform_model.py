"""What HuBERT (Hsu et al. 2021) and its relatives have in common, in fairseq's naming: waveform
front end, projection, and how their settings name the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import hubert
from distill.teachers.bricks.waveform import WaveformConvs, normalised, parse_convs
from distill.teachers.published.network import Network
from distill.teachers.published.system import Architecture, State, n_layers

PRETRAINING = (r"mask_emb$", r"final_proj", r"label_embs_concat", r"_ema")
"""Keys that only pre-training needs."""

DEFAULTS: Architecture = {
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "extractor_mode": "default",
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
    "conv_bias": False,
    "activation_fn": "gelu",
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "pos_conv_depth": 1,
    "projects": None,
    "layer_norm_first": False,
    "normalize": False,
}
"""The base size. projects: whether what the convolutions say is projected to the width of the
layers; None: if it has another."""

LARGE: Architecture = {
    "encoder_layers": 24,
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "extractor_mode": "layer_norm",
    "layer_norm_first": True,
    "normalize": True,
}


class WaveformModel(Network):
    """features [B, T, C]: the normed output of the convolutions, 20 ms a frame.

    Rows depend on their own samples alone; `normalize` in the settings gives each zero mean and
    unit variance.
    """

    def __init__(self, cfg: Architecture, dim: int) -> None:
        super().__init__()
        convs = parse_convs(cfg["conv_feature_layers"])
        self.normalises, channels = cfg["normalize"], convs[-1][0]
        self.feature_extractor = WaveformConvs(convs, cfg["extractor_mode"], cfg["conv_bias"])
        self.min_samples = self.feature_extractor.field_samples
        self.layer_norm: nn.Module = nn.LayerNorm(channels)
        projects = channels != dim if cfg["projects"] is None else cfg["projects"]
        self.post_extract_proj: nn.Module = nn.Linear(channels, dim) if projects else nn.Identity()

    def features(self, waveform: Tensor) -> Tensor:
        waveform = normalised(waveform) if self.normalises else waveform
        out: Tensor = self.layer_norm(self.feature_extractor(waveform))
        return out

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        return self.feature_extractor.timing(self.sample_rate_hz)


def encoder(
    cfg: Architecture,
    n_layers: int,
    positions: bool = True,
    bias: hubert.PositionBias | None = None,
) -> hubert.Encoder:
    """That of the settings. positions: whether it begins with their convolutions."""
    dim = cfg["encoder_embed_dim"]
    layers = [
        hubert.Layer(
            dim,
            cfg["encoder_attention_heads"],
            cfg["encoder_ffn_embed_dim"],
            pre_norm=cfg["layer_norm_first"],
            gate=bias.gate if bias else "",
            activation=cfg["activation_fn"],
        )
        for _ in range(n_layers)
    ]
    return hubert.Encoder(layers, dim, conv_positions(cfg, dim) if positions else None, bias)


def conv_positions(cfg: Architecture, dim: int) -> nn.Module:
    """Those that `conv_pos`, `conv_pos_groups` and `pos_conv_depth` name."""
    numbers = (cfg[name] for name in ("conv_pos", "conv_pos_groups", "pos_conv_depth"))
    return hubert.conv_positions(dim, *numbers)


def infer(state: State, config: Mapping[str, Any]) -> Architecture:
    """Of fairseq's and s3prl's checkpoints: the model's settings, with those of the task; else
    what the weights tell. `encoder_attention_heads` follows from heads 64 wide."""
    model, task = config.get("model", config), config.get("task", {})
    told = {**task, **model} if "encoder_embed_dim" in model else _sizes(state)
    return {key: value for key, value in told.items() if key != "conv_pos" or value}


def _sizes(state: State) -> Architecture:
    dim, channels = state["post_extract_proj.weight"].shape
    convs = f"[({channels},10,5)] + [({channels},3,2)] * 4 + [({channels},2,2)] * 2"
    by_layer = "feature_extractor.conv_layers.1.2.1.weight" in state
    return {
        "encoder_layers": n_layers(state, "encoder.layers"),
        "encoder_embed_dim": dim,
        "encoder_ffn_embed_dim": len(state["encoder.layers.0.fc1.bias"]),
        "encoder_attention_heads": max(1, dim // 64),
        "conv_feature_layers": convs,
        "extractor_mode": "layer_norm" if by_layer else "default",
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state,
    }
