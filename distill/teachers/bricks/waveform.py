"""Convolutions over the waveform, as in wav2vec 2.0 (Baevski et al. 2020) and its successors.

The keys are fairseq's: `conv_layers.i.0` is a convolution, `conv_layers.i.2` its norm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from torch import Tensor, nn

from distill.teachers.base import Timing
from edge_audio.errors import UsageError

Norms = Literal["default", "layer_norm"]
"""One group for each channel behind the first convolution, or LayerNorm behind each."""


_PIECE = re.compile(r"\[((?:\(\d+,\d+,\d+\),?)+)\](?:\*(\d+))?")


def parse_convs(text: str) -> list[tuple[int, ...]]:
    """fairseq's "[(512,10,5)] + [(512,3,2)] * 4" as (channels, kernel, stride) of each. UsageError
    if it is anything else."""
    convs: list[tuple[int, ...]] = []
    for piece in text.replace(" ", "").split("+"):
        match = _PIECE.fullmatch(piece)
        if match is None:
            raise UsageError(f"conv_feature_layers {text!r}: a sum of lists of (d, k, s) is known")
        triples = re.findall(r"\((\d+),(\d+),(\d+)\)", match[1])
        convs += [tuple(map(int, triple)) for triple in triples] * int(match[2] or 1)
    return convs


def conv_field_hop(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Samples that a frame of convolutions (kernel, stride) sees, and those between frames."""
    field = hop = 1
    for kernel, stride in pairs:
        field += (kernel - 1) * hop
        hop *= stride
    return field, hop


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [B, C, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class WaveformConvs(nn.Module):
    """[B, n] -> [B, T, C], without padding. convs: (channels, kernel, stride) of each.

    field_samples: what one frame sees, and so the shortest clip.
    """

    def __init__(
        self, convs: Sequence[Sequence[int]], norms: Norms = "default", bias: bool = False
    ) -> None:
        super().__init__()
        pairs = ((kernel, stride) for _, kernel, stride in convs)
        self.field_samples, self.hop_samples = conv_field_hop(pairs)
        self.conv_layers, channels = nn.ModuleList(), 1
        for index, (wider, kernel, stride) in enumerate(convs):
            parts: list[nn.Module] = [nn.Conv1d(channels, wider, kernel, stride, bias=bias)]
            if norms == "layer_norm":  # fairseq's keys: between two transposes
                norm = nn.Sequential(nn.Identity(), ChannelNorm(wider))
                parts += [nn.Identity(), norm]
            elif index == 0:
                parts += [nn.Identity(), nn.GroupNorm(wider, wider)]
            self.conv_layers.append(nn.Sequential(*parts, nn.GELU()))
            channels = wider

    def forward(self, waveform: Tensor) -> Tensor:
        x = waveform[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)

    def timing(self, rate_hz: int) -> Timing:
        """Frames are centred on the middle of the samples that they see."""
        return Timing(self.hop_samples / rate_hz, (self.field_samples - 1) / 2 / rate_hz)


def normalised(waveform: Tensor) -> Tensor:
    """Each row of [B, n] without its mean, over its deviation, as fairseq does it."""
    centred = waveform - waveform.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
