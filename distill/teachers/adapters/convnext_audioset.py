"""ConvNeXt-Tiny for AudioSet (Pellegrini et al. 2023): ConvNeXt (Liu et al. 2022) over a log-mel
image of 224 bands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import images
from distill.teachers.bricks.waveform import ChannelNorm
from distill.teachers.published.network import Encoded, Network
from distill.teachers.published.system import Architecture, Card, State, System

N_BANDS, FFT_SIZE, HOP_SAMPLES = 224, 1024, 320
_STEM_STRIDE = _STEM_PADDING = 4
_EPS = 1e-6


class Block(nn.Module):
    """[B, C, T, F] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, _EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).movedim(1, -1))
        y = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(y)))
        out: Tensor = x + y.movedim(-1, 1)
        return out


class ConvNeXt(Network):
    """features [B, 1, T, 224]; hidden: the maps [B, C, T', F'] of the stem and of each stage."""

    sample_rate_hz = 32_000
    min_samples = 8_000

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        depths, dims = architecture["depths"], architecture["dims"]
        self.n_labels = architecture["num_classes"]
        self.mel = images.LibrosaMel(
            self.sample_rate_hz, FFT_SIZE, HOP_SAMPLES, N_BANDS, 50.0, 14_000.0
        )
        self.bn0 = nn.BatchNorm1d(N_BANDS)
        conv = nn.Conv2d(1, dims[0], 4, _STEM_STRIDE, (_STEM_PADDING, 0))
        between = (
            nn.Sequential(ChannelNorm(c_in, _EPS), nn.Conv2d(c_in, c_out, 2, 2))
            for c_in, c_out in itertools.pairwise(dims)
        )
        stem = nn.Sequential(conv, ChannelNorm(dims[0], _EPS))
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(dim) for _ in range(depth)))
            for depth, dim in zip(depths, dims, strict=True)
        )
        self.norm = nn.LayerNorm(dims[-1], _EPS)
        self.head_audioset = nn.Linear(dims[-1], self.n_labels)

    def features(self, waveform: Tensor) -> Tensor:
        return images.normed_bands(self.bn0, self.mel(waveform))

    def encode(self, features: Tensor) -> Encoded:
        stem, *rest = self.downsample_layers
        hidden = [stem(features)]
        hidden.append(self.stages[0](hidden[0]))
        for downsample, stage in zip(rest, self.stages[1:], strict=True):
            hidden.append(stage(downsample(hidden[-1])))
        frames = hidden[-1].mean(3)
        scene = self.norm(frames.amax(2) + frames.mean(2))
        logits = self.head_audioset(scene)
        return Encoded(tuple(hidden), hidden[-1], logits, lambda: {"scene_embedding": scene})

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return images.band_frames(hidden)

    def timing(self, index: int) -> Timing:
        """Column j of the stem covers frames 4 j - 4 to 4 j - 1; each later stage joins two."""
        stride = _STEM_STRIDE << max(0, index - 1)
        hop_s = HOP_SAMPLES / self.sample_rate_hz
        return Timing(stride * hop_s, ((stride - 1) / 2 - _STEM_PADDING) * hop_s)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    stages = [key.split(".")[1] for key in state if re.fullmatch(r"stages\.\d+\.\d+\.gamma", key)]
    names = sorted(set(stages), key=int)
    return {
        "depths": [stages.count(name) for name in names],
        "dims": [len(state[f"stages.{name}.0.gamma"]) for name in names],
        "num_classes": len(state["head_audioset.weight"]),
    }


SYSTEM = System(
    card=Card(
        title="ConvNeXt-Tiny AudioSet",
        paper="Pellegrini et al. 2023, Adapting a ConvNeXt model to audio classification",
        code_licence="MIT",
        weights_licence="not stated here: see Zenodo 8020843",
        checkpoints=(
            "convnext_tiny_471mAP.pth",
            "convnext_tiny_465mAP_BL_AC_70kit.pth",
            "topel/ConvNeXt-Tiny-AT",
        ),
        sizes={"Tiny": {}},
        audioset_map="0.471, in the file's name",
    ),
    build=ConvNeXt,
    defaults={"depths": [3, 3, 9, 3], "dims": [96, 192, 384, 768], "num_classes": 527},
    infer=_infer,
    anchor="downsample_layers.0.0.weight",
    heads=("num_classes",),
    ignored=images.EXTRACTORS,
)
