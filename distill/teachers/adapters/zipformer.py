"""Zipformer encoder (Yao et al. 2024) over filter banks, of which SPEAR (Yang et al. 2025) and
other encoders of icefall are made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import zipformer
from distill.teachers.bricks.mel import KaldiBank
from distill.teachers.bricks.zipformer import BiasNorm, swoosh_l, swoosh_r
from distill.teachers.published.network import Encoded, Network
from distill.teachers.published.system import Architecture, Card, System

_N_MELS, _MIN_HZ, _MAX_HZ, _FRAME_S = 128, 20.0, 7600.0, 0.01
_FIELD_FRAMES = 7  # of the convolutions that halve the rate


class ConvNeXt(nn.Module):
    """[B, C, T, F] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.pointwise_conv1 = nn.Conv2d(channels, 3 * channels, 1)
        self.pointwise_conv2 = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = swoosh_l(self.pointwise_conv1(self.depthwise_conv(x)))
        out: Tensor = x + self.pointwise_conv2(inner)
        return out


class Embed(nn.Module):
    """[B, T, F] -> [B, (T - 7) // 2, D], without padding in time."""

    def __init__(self, settings: Mapping[str, int]) -> None:
        super().__init__()
        first, second, channels = (settings[f"layer{i}_channels"] for i in (1, 2, 3))
        n_bands = (((settings["in_channels"] - 1) // 2) - 1) // 2
        self.conv = nn.ModuleDict(
            {
                "0": nn.Conv2d(1, first, 3, padding=(0, 1)),
                "4": nn.Conv2d(first, second, 3, 2),
                "7": nn.Conv2d(second, channels, 3, (1, 2)),
            }
        )
        self.convnext = ConvNeXt(channels)
        self.out = nn.Linear(channels * n_bands, settings["out_channels"])
        self.out_norm = BiasNorm(settings["out_channels"])

    def forward(self, features: Tensor) -> Tensor:
        x = features[:, None]
        for conv in self.conv.values():
            x = swoosh_r(conv(x))
        x = self.convnext(x).transpose(1, 2).flatten(2)
        out: Tensor = self.out_norm(self.out(x))
        return out


class ZipformerEncoder(Network):
    """features [B, T, 128]; hidden: the embedded frames, then each stack, at 20 ms. output: the
    widest channels of all stacks, at the rate of `output_downsampling_factor`."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        settings = architecture["encoder"]
        self.bank = KaldiBank(
            _N_MELS, self.sample_rate_hz, _MIN_HZ, _MAX_HZ, window="povey", mirrored=True
        )
        self.min_samples = (_FIELD_FRAMES + 2) * self.bank.hop_samples
        self.encoder_embed = Embed(architecture["encoder_embed"])
        factor = settings["output_downsampling_factor"]
        self.encoder = zipformer.Zipformer(zipformer.stack_sizes(settings), factor)

    def encode(self, features: Tensor) -> Encoded:
        embedded = self.encoder_embed(features)
        stacks = self.encoder(embedded)
        hidden = (embedded, *(outer for outer, _ in stacks))
        full_rate = zipformer.widest(hidden[1:])
        output = self.encoder.downsample_output(full_rate)

        def others() -> dict[str, Tensor]:
            inner = {f"layer_outputs_stack_{i}": layers for i, (_, layers) in enumerate(stacks)}
            lengths = torch.full((len(output),), output.shape[1])
            made = {"embed_output": embedded, "full_rate_output": full_rate, **inner}
            return {**made, "output_lengths": lengths}

        return Encoded(hidden, output, others=others)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        """Frame j sees features 2 j to 2 j + 8, feature t being centred on (t + 1/2) hops."""
        return Timing(2 * _FRAME_S, (4 + 0.5) * _FRAME_S)


SYSTEM = System(
    card=Card(
        title="Zipformer (SPEAR's encoder)",
        paper="Yao et al. 2024, Zipformer: A faster and better encoder for automatic speech "
        "recognition",
        code_licence="Apache-2.0",
        weights_licence="not stated here",
        checkpoints=("an icefall checkpoint: its architecture has to be given",),
        sizes={"medium": {}},
    ),
    build=ZipformerEncoder,
    defaults={
        "encoder_embed": {
            "in_channels": _N_MELS,
            "out_channels": 192,
            "layer1_channels": 8,
            "layer2_channels": 32,
            "layer3_channels": 128,
        },
        "encoder": {
            "output_downsampling_factor": 2,
            "downsampling_factor": [1, 2, 4, 8, 4, 2],
            "encoder_dim": [192, 256, 384, 512, 384, 256],
            "num_encoder_layers": [2, 2, 3, 4, 3, 2],
            "query_head_dim": [32],
            "pos_head_dim": [4],
            "value_head_dim": [12],
            "num_heads": [4, 4, 4, 8, 4, 4],
            "feedforward_dim": [512, 768, 1024, 1536, 1024, 768],
            "cnn_module_kernel": [31, 31, 15, 15, 15, 31],
            "pos_dim": 48,
        },
    },
    infer=lambda state, config: {},
    anchor="encoder_embed.conv.0.weight",
    ignored=zipformer.UNUSED,
)
