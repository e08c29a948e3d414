"""NPC (Liu, Chung, Glass 2021), as s3prl has it: convolutions whose output at a time is made
without the frames about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import patches
from distill.teachers.bricks.mel import KaldiBank, normalised_bands
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, Card, State, System, n_layers


class Block(nn.Module):
    """[B, C, T] -> [B, C', T], with a shortcut unless it is the first."""

    def __init__(self, c_in: int, dim: int, residual: bool) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(c_in, dim, 3, padding=1), nn.Conv1d(dim, dim, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(dim), nn.BatchNorm1d(dim)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.linear(torch.relu(self.bn1(self.conv(x)))))
        return torch.relu(x + y if self.residual else y)


class MaskedConv(nn.Module):
    """tanh of a convolution whose middle taps are zero."""

    conv_mask: Tensor

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2)
        self.register_buffer("conv_mask", torch.ones(dim, dim, kernel))

    def forward(self, x: Tensor) -> Tensor:
        weight, padding = self.conv.weight * self.conv_mask, self.conv.kernel_size[0] // 2
        return torch.tanh(functional.conv1d(x, weight, self.conv.bias, padding=padding))


class NPC(Network):
    """features [B, T, 80]; hidden: each block, unmasked. output: the sum of masked convolutions
    of all blocks, or of the last alone (`disable_cross_layer`)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, n_mels = architecture["hidden_size"], architecture["input_size"]
        n_blocks = architecture["n_blocks"]
        self.bank = KaldiBank(n_mels, window="hamming")
        self.min_samples = self.bank.window_samples + self.bank.hop_samples
        self.blocks = nn.ModuleList(
            Block(dim if index else n_mels, dim, architecture["residual"] and index > 0)
            for index in range(n_blocks)
        )
        n_masked = 1 if architecture["disable_cross_layer"] else n_blocks
        kernel = architecture["kernel_size"]
        self.masked_convs = nn.ModuleList(MaskedConv(dim, kernel) for _ in range(n_masked))
        self.postnet = nn.Linear(dim, n_mels)

    def features(self, waveform: Tensor) -> Tensor:
        return normalised_bands(self.bank(waveform))

    def encode(self, features: Tensor) -> Encoded:
        hidden = states(self.blocks, features.transpose(1, 2))
        heard = hidden[-len(self.masked_convs) :]
        masked = [conv(x).transpose(1, 2) for conv, x in zip(self.masked_convs, heard, strict=True)]
        output = torch.stack(masked).sum(0)
        return Encoded(
            tuple(x.transpose(1, 2) for x in hidden),
            output,
            others=lambda: {
                "masked_features": torch.stack(masked),
                "prediction": self.postnet(output),
            },
        )

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(1, 1)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_mels, dim = state["postnet.weight"].shape
    n_blocks = n_layers(state, "blocks")
    masks = {key for key in state if key.endswith("conv_mask")}
    return {
        "input_size": n_mels,
        "hidden_size": dim,
        "n_blocks": n_blocks,
        "kernel_size": state[min(masks)].shape[2],
        "disable_cross_layer": len(masks) < n_blocks,
    }


SYSTEM = System(
    card=Card(
        title="NPC",
        paper="Liu, Chung, Glass 2021, Non-Autoregressive Predictive Coding for Learning Speech "
        "Representations from Local Dependencies",
        code_licence="Apache-2.0",
        weights_licence="CC BY-NC 4.0",
        non_commercial=True,
        checkpoints=("npc_360hr", "npc_960hr"),
        sizes={"360 h": {}},
    ),
    build=NPC,
    defaults={
        "input_size": 80,
        "hidden_size": 512,
        "n_blocks": 4,
        "kernel_size": 15,
        "residual": True,
        "disable_cross_layer": False,
    },
    infer=_infer,
    anchor="blocks.0.conv.weight",
    ignored=(r"vq_layers\.",),
)
