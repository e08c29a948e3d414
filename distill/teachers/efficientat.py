"""EfficientAT's MobileNetV3 audio taggers (mn04, mn10, ...), re-implemented so that their
published checkpoints load key for key.

Schmid, Koutini, Widmer: Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge
Distillation, ICASSP 2023. Graph: MobileNetV3-Large (Howard et al. 2019) on one input channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.data.labels import audioset_labels
from distill.teachers.base import Layer, TeacherOutput, check_layers, row_of, stack_rows
from distill.teachers.bricks import images
from distill.teachers.bricks.mel import PasstBank
from distill.teachers.published.network import states
from edge_audio.errors import UsageError
from edge_audio.support.folders import PEERS_ENV

ADDRESS = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/"
"""Of the published checkpoints, by their file names."""
SAMPLE_RATE_HZ = 32_000
_MEL_HOP_S = 0.01

_FRAMES_BEFORE, _FRAMES_AFTER = 3, 1
"""Frame logits come from a mean over these neighbours: the classifier was trained on clip
means, and on single frames it is wildly overconfident (4.7 labels expected per ESC-50 frame
instead of 2.0). Leaning to the past suits a causal student."""

_N_MELS = 128

# kernel, expanded channels, output channels, squeeze-excitation, stride; at width 1.0
MOBILENET_ROWS = (
    (3, 16, 16, False, 1),
    (3, 64, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, True, 1),
    (5, 960, 160, True, 1),
)
N_RELU_ROWS = 6  # the first blocks use ReLU, the rest hard-swish


def rounded_channels(count: float) -> int:
    """MobileNet's rounding: to a multiple of 8, never more than 10 % down."""
    rounded = max(8, int(count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count else rounded


def conv_norm(
    c_in: int,
    c_out: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    act: type | None = None,
) -> nn.Sequential:
    """Convolution without bias, batch norm, and an activation if one is named."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(c_out, eps=1e-3)]
    return nn.Sequential(*layers, *([act()] if act else []))


def clip_head(dim: int, hidden_dim: int, n_labels: int) -> nn.Sequential:
    """The last map [B, dim, F, T] -> logits of clips."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(1),
        nn.Linear(dim, hidden_dim),
        nn.Hardswish(),
        nn.Dropout(0.2),
        nn.Linear(hidden_dim, n_labels),
    )


class _SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, F, T]
        scale = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class _ConcurrentSqueezeExcitation(nn.Module):
    """Holder that gives the published checkpoints' parameter names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded_channels(channels / 4)
        self.conc_se_layers = nn.ModuleList([_SqueezeExcitation(channels, squeezed)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conc_se_layers[0](x)
        return out


class _InvertedResidual(nn.Module):
    def __init__(
        self,
        c_in: int,
        expanded: int,
        c_out: int,
        kernel: int,
        se: bool,
        stride: int,
        act: type[nn.Module],
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and c_in == c_out
        layers: list[nn.Module] = []
        if expanded != c_in:
            layers.append(conv_norm(c_in, expanded, act=act))
        layers.append(conv_norm(expanded, expanded, kernel, stride, groups=expanded, act=act))
        if se:
            layers.append(_ConcurrentSqueezeExcitation(expanded))
        layers.append(conv_norm(expanded, c_out))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.block(x) if self.residual else self.block(x)
        return out


class EfficientAT(nn.Module):
    """Log-mel [B, 1, 128, T] -> maps, logits; `width` scales the channels (mn04: 0.4).

    shapes: (channels, time stride) of every entry of `features`.
    """

    def __init__(self, width: float, n_classes: int = 527) -> None:
        super().__init__()
        c_in, time_stride = rounded_channels(16 * width), 2
        self.shapes = [(c_in, time_stride)]
        layers: list[nn.Module] = [conv_norm(1, c_in, 3, stride=2, act=nn.Hardswish)]
        for index, (kernel, expanded, out, se, stride) in enumerate(MOBILENET_ROWS):
            act: type[nn.Module] = nn.ReLU if index < N_RELU_ROWS else nn.Hardswish
            c_out = rounded_channels(out * width)
            hidden = rounded_channels(expanded * width)
            layers.append(_InvertedResidual(c_in, hidden, c_out, kernel, se, stride, act))
            c_in, time_stride = c_out, time_stride * stride
            self.shapes.append((c_in, time_stride))
        self.feature_dim = 6 * c_in
        self.shapes.append((self.feature_dim, time_stride))
        layers.append(conv_norm(c_in, self.feature_dim, act=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        hidden = rounded_channels(1280 * width)
        self.classifier = clip_head(self.feature_dim, hidden, n_classes)

    def maps(self, mels: Tensor) -> tuple[Tensor, ...]:
        """[B, C, F, T] after every entry of `features`."""
        return states(self.features, mels)

    def classify(self, features: Tensor) -> Tensor:
        """[..., D], the last map averaged over frequency and any span of time -> logits."""
        head = cast(nn.Sequential, self.classifier[2:])
        return cast(Tensor, head(features))


def _local_mean(features: Tensor) -> Tensor:
    """Mean over _FRAMES_BEFORE, the frame itself and _FRAMES_AFTER, the ends repeated."""
    width = _FRAMES_BEFORE + 1 + _FRAMES_AFTER
    padding = (_FRAMES_BEFORE, _FRAMES_AFTER)
    padded = functional.pad(features.transpose(1, 2), padding, mode="replicate")
    return functional.avg_pool1d(padded, width, stride=1).transpose(1, 2)


class EfficientATTeacher(nn.Module):
    """Waveform [B, n] at 32 kHz in [-1, 1] -> TeacherOutput.

    A map becomes frames of C x bands channels, averaged over frequency down to at most 4 bands
    (the last one to a single band); its frame j is centred on j * hop_s.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, name: str, network: EfficientAT, layers: Sequence[int]) -> None:
        super().__init__()
        self.name, self.network, self.indices = name, network, tuple(layers)
        self.layers = tuple(self._describe(index) for index in layers)
        self.label_frames = self._describe(len(network.shapes) - 1)
        self.mels = PasstBank()

    @classmethod
    def load(cls, checkpoint: Path, width: float, layers: Sequence[int] = ()) -> EfficientATTeacher:
        """Loads a published checkpoint; UsageError if it is missing, does not fit `width`, or
        has no such layers."""
        if not checkpoint.is_file():
            raise UsageError(
                f"teacher checkpoint {checkpoint} is missing: fetch {ADDRESS}{checkpoint.name} "
                f"into the folder that {PEERS_ENV} names"
            )
        network = EfficientAT(width)
        try:
            network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise UsageError(f"{checkpoint} does not fit width {width}: {reason}") from error
        last = len(network.shapes) - 1
        check_layers(layers, range(last + 1), f" of {checkpoint}")
        name = checkpoint.stem.partition("_")[0]
        return cls(name, network, layers).eval().requires_grad_(False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The 527 AudioSet classes."""
        return audioset_labels()

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> TeacherOutput:
        """Rows of different lengths are heard one by one: squeeze and excitation averages over
        time, so that padding would reach every frame."""
        if lengths is not None and bool((lengths < waveform.shape[1]).any()):
            pairs = zip(waveform, lengths.tolist(), strict=True)
            return stack_rows([row_of(self(row[None, :length]), 0) for row, length in pairs])
        maps = self.network.maps(self.mels(waveform))
        features = maps[-1].mean(2).transpose(1, 2)  # [B, T, D]
        hidden = tuple(self._frames(index, maps[index]) for index in self.indices)
        clip_logits = self.network.classify(features.mean(1))
        return TeacherOutput(hidden, clip_logits, self.network.classify(_local_mean(features)))

    def _describe(self, index: int) -> Layer:
        channels, stride = self.network.shapes[index]
        dim = channels * _n_bands(index, stride, last=len(self.network.shapes) - 1)
        return Layer(name=f"features.{index}", dim=dim, hop_s=_MEL_HOP_S * stride)

    def _frames(self, index: int, feature_map: Tensor) -> Tensor:
        stride = self.network.shapes[index][1]
        bands = _n_bands(index, stride, last=len(self.network.shapes) - 1)
        pooled = feature_map.unflatten(2, (bands, -1)).mean(3)
        out: Tensor = pooled.flatten(1, 2).transpose(1, 2)
        return out


def _n_bands(index: int, stride: int, last: int) -> int:
    return 1 if index == last else min(images.MAX_BANDS, _N_MELS // stride)
