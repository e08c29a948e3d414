"""PaSST (Koutini et al. 2022): DeiT with positions of frequency and of time apart, on the log-mel
of EfficientAT. Patchout is for training alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.deit import N_SUMMARY, head
from distill.teachers.bricks.mel import PasstBank
from distill.teachers.published.network import Encoded, Network
from distill.teachers.published.system import Architecture, Card, State, System

PATCH, N_MELS = 16, 128


class Passt(Network):
    """features [B, 1, 128, T]; hidden: two summary tokens and F * T' patches."""

    sample_rate_hz = 32_000

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, self.stride = architecture["embed_dim"], architecture["stride"]
        n_mels, n_frames = architecture["img_size"]
        self.bank = PasstBank()
        # the authors' count, one more than there are columns where the stride divides
        self.n_bands, n_columns = n_mels // self.stride[0], n_frames // self.stride[1]
        self.min_samples = (PATCH - 1) * self.bank.hop_samples + 1
        self.max_samples = (n_columns * self.stride[1] + PATCH - 1) * self.bank.hop_samples
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, tuple(self.stride))})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, N_SUMMARY, dim))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, dim, self.n_bands, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, n_columns))
        self.blocks = vit.blocks(architecture)
        self.norm = nn.LayerNorm(dim, 1e-6)
        self.n_labels = architecture["num_classes"]
        self.head = head(dim, self.n_labels)

    def encode(self, features: Tensor) -> Encoded:
        maps = self.patch_embed["proj"](features)
        maps = maps + self.time_new_pos_embed[..., : maps.shape[3]] + self.freq_new_pos_embed
        summaries = torch.cat([self.cls_token, self.dist_token], 1) + self.new_pos_embed
        summaries = summaries.expand(len(maps), -1, -1)
        hidden = vit.run(self.blocks, torch.cat([summaries, maps.flatten(2).transpose(1, 2)], 1))
        output = self.norm(hidden[-1])
        feature = output[:, :N_SUMMARY].mean(1)
        logits = self.head(feature)

        def others() -> dict[str, Tensor]:
            return {"clip_feature": feature, "scene_embedding": torch.cat([logits, feature], 1)}

        return Encoded(hidden, output, logits, others)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden[:, N_SUMMARY:], self.n_bands, frequency_major=True)

    def timing(self, index: int) -> Timing:
        return patches.centred_timing(PATCH, self.stride[1])


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    """The strides from the number of bands, the longest clip from that of columns."""
    known: dict[str, Any] = dict(vit.sizes(state))
    if "head.1.weight" in state:
        known["num_classes"] = len(state["head.1.weight"])
    if {"freq_new_pos_embed", "time_new_pos_embed"} <= set(state):
        n_bands = state["freq_new_pos_embed"].shape[2]
        fitting = (s for s in (10, 12, 14, 16) if (N_MELS - PATCH) // s + 1 == n_bands)
        stride = next(fitting, 10)
        n_columns = state["time_new_pos_embed"].shape[3]
        known |= {"stride": (stride, stride), "img_size": (N_MELS, n_columns * stride)}
    return known


SYSTEM = System(
    card=Card(
        title="PaSST",
        paper="Koutini et al. 2022, Efficient Training of Audio Transformers with Patchout",
        code_licence="Apache-2.0",
        weights_licence="Apache-2.0",
        checkpoints=(
            "passt-s-f128-p16-s10-ap.476-swa.pt",
            "passt-s-f128-p16-s16-ap.468.pt",
            "passt_s_kd_p16_128_ap486.pt",
            "passt_l_kd_p16_128_ap47.pt",
            "passt-s-f128-20sec-p16-s10-ap474-swa.pt",
        ),
        sizes={"S": {}, "L": {"depth": 7}},
        audioset_map="0.476 (file name)",
    ),
    build=Passt,
    defaults={
        **vit.BASE,
        "stride": (10, 10),
        "img_size": (128, 998),
        "num_classes": 527,
    },
    infer=_infer,
    heads=("num_classes",),
    anchor="patch_embed.proj.weight",
    ignored=("head_dist", "pre_logits"),
)
