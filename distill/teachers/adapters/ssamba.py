"""SSAMBA (Shams et al. 2024): SSAST's recipe with state spaces in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import mamba, patches
from distill.teachers.bricks.deit import head, stretched
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

N_MELS = 128


class Ssamba(Network):
    """features [B, T, 128]; hidden: a class token and the patches, frequency-major, then the
    residual stream behind each layer. output: normed twice in a row, as the authors do it."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, self.n_labels = architecture["embed_dim"], architecture["label_dim"]
        trained = architecture["img_size"]
        self.bank = ClipBank(architecture["input_tdim"] or trained[1])
        self.min_samples, self.max_samples = self.bank.min_samples, self.bank.max_samples
        self.patch = architecture["fshape"], architecture["tshape"]
        self.grid = trained[0] // self.patch[0], trained[1] // self.patch[1]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, self.patch, self.patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim))
        self.layers = nn.ModuleList(
            mamba.Layer(nn.LayerNorm(dim), _mixer(architecture))
            for _ in range(architecture["depth"])
        )
        self.norm_f = nn.LayerNorm(dim)
        self.mlp_head = head(dim, self.n_labels) if self.n_labels else None

    def encode(self, features: Tensor) -> Encoded:
        maps = self.patch_embed["proj"](features.transpose(1, 2)[:, None])
        summary = self.cls_token.expand(len(maps), -1, -1)
        tokens = torch.cat([summary, maps.flatten(2).transpose(1, 2)], 1)
        first = tokens + stretched(self.pos_embed, 1, self.grid, *maps.shape[2:])
        hidden = (first, *states(self.layers, first))
        once = self.norm_f(hidden[-1])
        output, head = self.norm_f(once), self.mlp_head

        def others() -> dict[str, Tensor]:
            classes = {} if head is None else {"logits_cls": head(output[:, 0])}
            return {"output_normed_once": once, **classes}

        logits = None if head is None else head(output[:, 1:].mean(1))
        return Encoded(hidden, output, logits, others)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden[:, 1:], N_MELS // self.patch[0], frequency_major=True)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(self.patch[1], self.patch[1])


def _mixer(architecture: Architecture) -> mamba.MambaMixer:
    return mamba.MambaMixer(
        architecture["embed_dim"],
        architecture["d_state"],
        architecture["d_conv"],
        architecture["expand"],
        architecture["bimamba_type"],
        architecture["if_devide_out"],
    )


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    sizes = mamba.sizes(state, "layers")
    height, width = state["patch_embed.proj.weight"].shape[2:]
    n_columns = (state["pos_embed"].shape[1] - 1) // (N_MELS // height)
    n_labels = n_rows(state, "mlp_head.1.weight")
    return {
        **sizes,
        **sizes["ssm_cfg"],
        "fshape": height,
        "tshape": width,
        "img_size": [N_MELS, n_columns * width],
        "label_dim": n_labels,
    }


SYSTEM = System(
    card=Card(
        title="SSAMBA",
        paper="Shams et al. 2024, SSAMBA: Self-Supervised Audio Representation Learning with "
        "Mamba State Space Model",
        code_licence="BSD-3-Clause, Apache-2.0",
        weights_licence="not stated here",
        checkpoints=("ssamba_base_400", "ssamba_small_400", "ssamba_tiny_400"),
        sizes={"tiny": {"embed_dim": 192}, "small": {"embed_dim": 384}, "base": {}},
    ),
    build=Ssamba,
    defaults={
        "img_size": [128, 1024],
        "input_tdim": None,
        "fshape": 16,
        "tshape": 16,
        "embed_dim": 768,
        "depth": 24,
        "label_dim": 0,
        "d_state": 16,
        "d_conv": 4,
        "expand": 2,
        "bimamba_type": "v2",
        "if_devide_out": True,
    },
    infer=_infer,
    heads=("label_dim",),
    anchor="v.patch_embed.proj.weight",
    keys=(("finetuned.mlp_head", "mlp_head"), ("v", ""), *mamba.KEYS),
    ignored=("mask_embed", "cpredlayer", "gpredlayer", r"v\.head\.", "p_input_"),
)
