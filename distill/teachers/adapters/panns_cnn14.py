"""PANNs Cnn14 (Kong et al. 2020): twelve 3x3 convolutions over a log-mel image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import images
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, Card, State, System, n_layers

N_BANDS = 64
_FRONT_ENDS = {32_000: (1024, 320, 14_000.0), 16_000: (512, 160, 8_000.0)}
"""Sample rate -> FFT size, hop, highest frequency."""


class ConvBlock(nn.Module):
    """[B, C, T, F] -> two convolutions, then `pool` times smaller in both axes, rounded down."""

    def __init__(self, c_in: int, c_out: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(c_out), nn.BatchNorm2d(c_out)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return functional.avg_pool2d(x, self.pool)


class Cnn14(Network):
    """features [B, 1, T, 64]; hidden: the maps [B, C, T', F'] behind each block."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.sample_rate_hz = architecture["sample_rate_hz"]
        channels, self.n_labels = architecture["channels"], architecture["classes"]
        fft_size, hop, max_hz = _FRONT_ENDS[self.sample_rate_hz]
        self.hop_s = hop / self.sample_rate_hz
        self.min_samples = hop << (len(channels) - 1)
        self.mel = images.LibrosaMel(self.sample_rate_hz, fft_size, hop, N_BANDS, 50.0, max_hz)
        self.bn0 = nn.BatchNorm1d(N_BANDS)
        self.blocks = nn.ModuleList(
            ConvBlock(c_in, c_out, 1 if index == len(channels) - 1 else 2)
            for index, (c_in, c_out) in enumerate(zip([1, *channels[:-1]], channels, strict=True))
        )
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.fc_audioset = nn.Linear(channels[-1], self.n_labels)

    def features(self, waveform: Tensor) -> Tensor:
        return images.normed_bands(self.bn0, self.mel(waveform))

    def encode(self, features: Tensor) -> Encoded:
        hidden = states(self.blocks, features)
        frames = hidden[-1].mean(3)
        embedding = torch.relu(self.fc1(frames.amax(2) + frames.mean(2)))
        logits = self.fc_audioset(embedding)
        return Encoded(hidden, embedding, logits, lambda: {"probabilities": torch.sigmoid(logits)})

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return images.band_frames(hidden)

    def timing(self, index: int) -> Timing:
        """Each pooling joins two neighbours, the convolutions are centred."""
        stride = 1 << min(index + 1, len(self.blocks) - 1)
        return Timing(stride * self.hop_s, (stride - 1) / 2 * self.hop_s)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_blocks = n_layers(state, "blocks")
    channels = [len(state[f"blocks.{index}.bn2.weight"]) for index in range(n_blocks)]
    return {"channels": channels, "classes": len(state["fc_audioset.weight"])}


SYSTEM = System(
    card=Card(
        title="PANNs Cnn14",
        paper="Kong et al. 2020, PANNs: Large-Scale Pretrained Audio Neural Networks",
        code_licence="MIT",
        weights_licence="CC BY 4.0",
        checkpoints=("Cnn14_mAP=0.431.pth", "Cnn14_16k_mAP=0.438.pth"),
        sizes={"Cnn14": {}, "Cnn14_16k": {"sample_rate_hz": 16_000}},
        audioset_map="0.431 (0.438 at 16 kHz), in the files' names",
    ),
    build=Cnn14,
    defaults={
        "channels": [64, 128, 256, 512, 1024, 2048],
        "classes": 527,
        "sample_rate_hz": 32_000,
    },
    infer=_infer,
    anchor="conv_block1.conv1.weight",
    keys=tuple((f"conv_block{number}", f"blocks.{number - 1}") for number in range(1, 7)),
    ignored=images.EXTRACTORS,
)
