"""DyMN, EfficientAT's dynamic MobileNets (Schmid, Koutini, Widmer 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import images
from distill.teachers.bricks.dynamic_conv import DynamicBlock, DynamicConv
from distill.teachers.bricks.mel import PasstBank
from distill.teachers.efficientat import (
    MOBILENET_ROWS,
    N_RELU_ROWS,
    SAMPLE_RATE_HZ,
    clip_head,
    conv_norm,
    rounded_channels,
)
from distill.teachers.published.network import Encoded, Golden, Network, states
from distill.teachers.published.system import Architecture, Card, State, System

_ROWS = "rows_in_kernel_expanded_out_dynamic_activation_stride_dilation_width"
_STEM_STRIDE, _FRAME_S = 2, 0.01
_OTHER_TEMPERATURE = 30.0  # of ImageNet's checkpoints; no file holds it


class DyMN(Network):
    """features [B, 1, 128, T]; hidden: the maps [B, C, F', T'] of the stem, of each block and of
    the last convolution."""

    sample_rate_hz = SAMPLE_RATE_HZ
    min_samples = 1_024

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        rows, last_dim = architecture[_ROWS], architecture["last_channel"]
        self.n_labels = architecture["classes"]
        self.bank = PasstBank()
        c_out = rows[0][0]
        self.in_c = conv_norm(1, c_out, 3, stride=_STEM_STRIDE, act=nn.Hardswish)
        self.layers, self.strides = nn.ModuleList(), [_STEM_STRIDE]
        for c_in, kernel, expanded, c_out, _, act, stride, *_ in rows:
            context = rounded_channels(expanded / architecture["context_ratio"])
            context = max(context, architecture["min_context_size"])
            context = min(context, architecture["max_context_size"])
            relu = nn.ReLU if act == "RE" else nn.Hardswish
            self.layers.append(DynamicBlock(c_in, expanded, c_out, kernel, stride, context, relu))
            self.strides.append(self.strides[-1] * stride)
        self.out_c = conv_norm(c_out, 6 * c_out, act=nn.Hardswish)
        self.classifier = clip_head(6 * c_out, last_dim, self.n_labels)
        self.temperature = architecture["temperature"]
        self.set_temperature(self.temperature)

    def set_temperature(self, temperature: float) -> None:
        """Of the attention over kernels: the published numbers come out with the right one only."""
        for module in self.modules():
            if isinstance(module, DynamicConv):
                module.temperature = temperature

    def encode(self, features: Tensor) -> Encoded:
        hidden = states([self.in_c, *self.layers, self.out_c], features)
        logits = self.classifier(hidden[-1])
        return Encoded(hidden, hidden[-1], logits, lambda: {"embedding": hidden[-1].mean((2, 3))})

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        made = super().recompute(golden)
        self.set_temperature(_OTHER_TEMPERATURE)
        other = self.encode(golden.get("features", made["features"])).clip_logits
        self.set_temperature(self.temperature)
        assert other is not None
        return made | {"logits_at_temperature_30": other}

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return images.band_frames(hidden.transpose(2, 3))

    def timing(self, index: int) -> Timing:
        """Strided convolutions are centred on the first frame of each step."""
        return Timing(self.strides[min(index, len(self.strides) - 1)] * _FRAME_S, 0.0)


def published(width: float) -> Architecture:
    """dymn04 (width 0.4), dymn10 or dymn20: MobileNetV3-Large's table without its squeezing."""
    rows: list[list[Any]] = []
    c_in = rounded_channels(16 * width)
    for index, (kernel, expanded, out, _, stride) in enumerate(MOBILENET_ROWS):
        inner, c_out = rounded_channels(expanded * width), rounded_channels(out * width)
        act = "RE" if index < N_RELU_ROWS else "HS"
        rows.append([c_in, kernel, inner, c_out, True, act, stride, 1, width])
        c_in = c_out
    return {
        _ROWS: rows,
        "last_channel": rounded_channels(1280 * width),
        "max_context_size": rounded_channels(128 * width),
        "min_context_size": rounded_channels(32 * width),
    }


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_labels = {"classes": len(state["classifier.5.weight"])}
    widths = {published(width)["last_channel"]: width for width in (0.4, 1.0, 2.0)}
    width = widths.get(len(state["classifier.2.weight"]))
    return n_labels if width is None else {**published(width), **n_labels}


SYSTEM = System(
    card=Card(
        title="DyMN (EfficientAT)",
        paper="Schmid, Koutini, Widmer 2024, Dynamic Convolutional Neural Networks as Efficient "
        "Pre-trained Audio Models",
        code_licence="MIT",
        weights_licence="not stated: released with the MIT code",
        checkpoints=("dymn04_as.pt", "dymn10_as.pt", "dymn20_as_mAP_493.pt"),
        sizes={"dymn04": published(0.4), "dymn10": published(1.0), "dymn20": published(2.0)},
        audioset_map="0.493 (dymn20), in the file's name",
    ),
    build=DyMN,
    defaults={**published(1.0), "classes": 527, "context_ratio": 4, "temperature": 1.0},
    infer=_infer,
    anchor="in_c.0.weight",
)
