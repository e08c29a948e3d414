"""AST (Gong et al. 2021) in its authors' format; transformers' port has other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.deit import N_SUMMARY, DeiT, head
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.published.network import Encoded, Golden, Network
from distill.teachers.published.system import Architecture, Card, State, System

PATCH, N_MELS = 16, 128
_AUDIOSET_FRAMES = 1024
_STRIDES, _LENGTHS = (10, 12, 14, 16), (1024, 128, 512, 1200)


class Ast(Network):
    """features [B, input_tdim, 128]; hidden: two summary tokens and F * T patches."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.bank = ClipBank(architecture["input_tdim"], architecture["mean"], architecture["std"])
        self.min_samples, self.max_samples = self.bank.min_samples, self.bank.max_samples
        self.stride = (architecture["fstride"], architecture["tstride"])
        self.n_bands = n_patches(N_MELS, self.stride[0])
        n_columns = n_patches(architecture["position_frames"], self.stride[1])
        self.grid = (self.n_bands, n_columns)
        self.v = DeiT(architecture, N_SUMMARY + self.n_bands * n_columns, (PATCH, PATCH))
        self.n_labels = architecture["label_dim"]
        self.mlp_head = head(architecture["embed_dim"], self.n_labels)

    def encode(self, features: Tensor) -> Encoded:
        hidden, output, positions = self.v.encode(features, self.grid)
        logits = self.mlp_head(output[:, :N_SUMMARY].mean(1))
        return Encoded(hidden, output, logits, lambda: {"positions": positions})

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden[:, N_SUMMARY:], self.n_bands, frequency_major=True)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(PATCH, self.stride[1])

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        if "waveform" not in golden:  # the first rows of a table stretched to 1200 frames
            rows = golden["positions_first_rows"]
            n_columns = n_patches(1200, self.stride[1])
            positions = self.v.stretched(self.grid, self.n_bands, n_columns)
            return {"positions_first_rows": positions[:, : rows.shape[1]]}
        made = super().recompute(golden)
        if "hidden_02" not in golden:  # the input and the last output alone
            made["hidden_01"] = made[f"hidden_{len(self.v.blocks):02}"]
        return made


def n_patches(size: int, stride: int) -> int:
    """Of an unpadded convolution."""
    return (size - PATCH) // stride + 1


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    """Strides and trained length from the number of positions, 1214 for 10 x 10 and 10 s."""
    sizes = vit.sizes({key.removeprefix("v."): value for key, value in state.items()})
    labels = {"label_dim": len(state["mlp_head.1.weight"])} if "mlp_head.1.weight" in state else {}
    n_rows = state["v.pos_embed"].shape[1] - N_SUMMARY if "v.pos_embed" in state else 0
    for length in _LENGTHS:
        for stride in _STRIDES:
            if n_rows == n_patches(N_MELS, stride) * n_patches(length, stride):
                shape = {"fstride": stride, "tstride": stride, "position_frames": length}
                return {**sizes, **labels, **shape, "input_tdim": length}
    bands = n_patches(N_MELS, 10)
    return {**sizes, **labels, "position_frames": (n_rows // bands - 1) * 10 + PATCH}


SYSTEM = System(
    card=Card(
        title="AST",
        paper="Gong et al. 2021, AST: Audio Spectrogram Transformer",
        code_licence="BSD-3-Clause",
        weights_licence="BSD-3-Clause",
        checkpoints=(
            "audioset_10_10_0.4593.pth",
            "audioset_12_12_0.4467.pth",
            "audioset_14_14_0.4431.pth",
            "audioset_16_16_0.4422.pth",
            "speechcommands_10_10_0.9812.pth",
        ),
        sizes={"base384": {}},
        audioset_map="0.459 (file name)",
    ),
    build=Ast,
    defaults={
        **vit.BASE,
        "fstride": 10,
        "tstride": 10,
        "input_tdim": _AUDIOSET_FRAMES,
        "position_frames": _AUDIOSET_FRAMES,
        "label_dim": 527,
        "mean": -4.2677393,
        "std": 4.5689974,
    },
    infer=_infer,
    heads=("label_dim",),
    anchor="v.patch_embed.proj.weight",
    ignored=(r"v\.head\.", r"v\.head_dist\."),
    state_files={"golden_long_positions.npz": "golden_cut_positions.npz"},
)
