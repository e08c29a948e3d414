"""SSAST (Gong et al. 2022): AST pre-trained by itself on patches of 16 x 16 or on whole frames.

A clip vector is the mean of its tokens; published files have no classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.deit import N_SUMMARY, DeiT, head
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.published.network import Encoded, Network
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

N_MELS = 128


class Ssast(Network):
    """features [B, input_tdim, 128]; hidden: two summary tokens and F * T patches."""

    p_input_fdim: Tensor
    p_input_tdim: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.bank = ClipBank(architecture["input_tdim"], architecture["mean"], architecture["std"])
        self.min_samples, self.max_samples = self.bank.min_samples, self.bank.max_samples
        self.patch = (architecture["fshape"], architecture["tshape"])
        self.stride = (architecture["fstride"], architecture["tstride"])
        trained = architecture["pretraining_input"]
        # in pre-training, patches lie side by side
        self.grid = (trained[0] // self.patch[0], trained[1] // self.patch[1])
        self.v = DeiT(architecture, N_SUMMARY + self.grid[0] * self.grid[1], self.patch)
        self.register_buffer("p_input_fdim", torch.tensor(trained[0]))
        self.register_buffer("p_input_tdim", torch.tensor(trained[1]))
        self.n_labels = architecture["label_dim"]
        if self.n_labels:
            self.mlp_head = head(architecture["embed_dim"], self.n_labels)

    def encode(self, features: Tensor) -> Encoded:
        hidden, output, positions = self.v.encode(features, self.grid)
        if not self.n_labels:
            return Encoded(hidden, output, others=lambda: {"positions": positions})

        def others() -> dict[str, Tensor]:
            classes = self.mlp_head(output[:, :N_SUMMARY].mean(1))
            return {"positions": positions, "logits_cls": classes}

        return Encoded(hidden, output, self.mlp_head(output[:, N_SUMMARY:].mean(1)), others)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        n_bands = (N_MELS - self.patch[0]) // self.stride[0] + 1
        return patches.band_mean(hidden[:, N_SUMMARY:], n_bands, frequency_major=True)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(self.patch[1], self.stride[1])


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    """Of a pre-trained file; strides are those of pre-training."""
    known: dict[str, Any] = {}
    if "p_input_fdim" in state and "p_input_tdim" in state:
        known["pretraining_input"] = [int(state["p_input_fdim"]), int(state["p_input_tdim"])]
    if "v.patch_embed.proj.weight" in state:
        shape = state["v.patch_embed.proj.weight"].shape[2:]
        known |= {"fshape": shape[0], "tshape": shape[1], "fstride": shape[0], "tstride": shape[1]}
    known["label_dim"] = n_rows(state, "mlp_head.1.weight")
    return {**vit.sizes({key.removeprefix("v."): value for key, value in state.items()}), **known}


_SMALL, _TINY = {"embed_dim": 384}, {"embed_dim": 192}
_FRAME = {"fshape": 128, "tshape": 2, "fstride": 128, "tstride": 2}

SYSTEM = System(
    card=Card(
        title="SSAST",
        paper="Gong et al. 2022, SSAST: Self-Supervised Audio Spectrogram Transformer",
        code_licence="BSD-3-Clause",
        weights_licence="BSD-3-Clause",
        checkpoints=(
            "SSAST-Base-Patch-400.pth",
            "SSAST-Small-Patch-400.pth",
            "SSAST-Tiny-Patch-400.pth",
            "SSAST-Base-Frame-400.pth",
            "SSAST-Tiny-Frame-400.pth",
        ),
        sizes={"Base patch": {}, "Small patch": _SMALL, "Tiny patch": _TINY, "Base frame": _FRAME},
    ),
    build=Ssast,
    defaults={
        **vit.BASE,
        "fshape": 16,
        "tshape": 16,
        "fstride": 16,
        "tstride": 16,
        "pretraining_input": [128, 1024],
        "input_tdim": 1024,
        "label_dim": 0,
        "mean": -4.2677393,
        "std": 4.5689974,
    },
    infer=_infer,
    heads=("label_dim",),
    anchor="v.patch_embed.proj.weight",
    keys=(("finetuned.mlp_head", "mlp_head"),),
    ignored=("mask_embed", "cpredlayer", "gpredlayer", r"v\.head\.", r"v\.head_dist\."),
)
