"""Audio-MAE (Huang et al. 2022), and Bird-MAE with constants of its own.

Pre-norm ViT over 16 x 16 patches, time-major, with a class token; positions are taken from the
file: they do not match the geometry, but the network was trained with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.published.network import Encoded, Network
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

PATCH, N_BANDS = 16, 8


class AudioMAE(Network):
    """features [B, 1, target_length, 128]; hidden: the class token and T * 8 patches."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.contextual_depth = architecture["contextual_depth"]
        dim, n_labels = architecture["embed_dim"], architecture["num_classes"]
        self.sample_rate_hz = architecture["sample_rate_hz"]
        self.bank = ClipBank(
            architecture["target_length"],
            architecture["mean"],
            architecture["std"],
            self.sample_rate_hz,
        )
        self.min_samples, self.max_samples = self.bank.min_samples, self.bank.max_samples
        n_patches = architecture["target_length"] // PATCH * N_BANDS
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, PATCH)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + n_patches, dim))
        self.blocks = vit.blocks(architecture)
        self.n_labels = n_labels or 0
        if n_labels is None:  # pre-trained only
            self.norm = nn.LayerNorm(dim, 1e-6)
        else:
            self.fc_norm = nn.LayerNorm(dim, 1e-6)
            self.head = nn.Linear(dim, n_labels)

    def features(self, waveform: Tensor) -> Tensor:
        frames: Tensor = self.bank(waveform)
        return frames[:, None]

    def encode(self, features: Tensor) -> Encoded:
        tokens = patches.time_major(self.patch_embed["proj"](features)) + self.pos_embed[:, 1:]
        summary = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        hidden = vit.run(self.blocks, torch.cat([summary, tokens], 1))
        if not self.n_labels:
            return Encoded(
                hidden,
                self.norm(hidden[-1]),
                others=lambda: self._contextual(hidden),
            )
        output = self.fc_norm(hidden[-1][:, 1:].mean(1))
        return Encoded(hidden, output, self.head(output))

    def _contextual(self, hidden: tuple[Tensor, ...]) -> dict[str, Tensor]:
        depth = min(self.contextual_depth, len(self.blocks) - 2)
        deep = torch.stack([self.norm(state) for state in hidden[depth + 2 :]])
        return {"contextual": deep.mean(0)}

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden[:, 1:], N_BANDS)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(PATCH, PATCH)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    rows = state["pos_embed"].shape[1] - 1 if "pos_embed" in state else 0
    length = {"target_length": rows // N_BANDS * PATCH} if rows else {}
    return {**vit.sizes(state), **length, "num_classes": n_rows(state, "head.weight") or None}


BIRD_MAE: Architecture = {
    "sample_rate_hz": 32_000,
    "target_length": 512,
    "mean": -7.2,
    "std": 4.43,
    "num_classes": None,
}

SYSTEM = System(
    card=Card(
        title="Audio-MAE",
        paper="Huang et al. 2022, Masked Autoencoders that Listen",
        code_licence="CC BY-NC 4.0",
        weights_licence="CC BY-NC 4.0",
        non_commercial=True,
        checkpoints=("pretrained.pth", "finetuned.pth"),
        sizes={"ViT-B": {}, "Bird-MAE-B": BIRD_MAE},
        audioset_map="0.473 (paper)",
    ),
    build=AudioMAE,
    defaults={
        **vit.BASE,
        "target_length": 1024,
        "num_classes": 527,
        "contextual_depth": 8,
        "sample_rate_hz": 16_000,
        "mean": -4.2677393,
        "std": 4.5689974,
    },
    infer=_infer,
    heads=("num_classes",),
    anchor="patch_embed.proj.weight",
    ignored=("decoder_", "mask_token"),
)
