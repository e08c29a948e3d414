"""Dasheng (Dinkel et al. 2024): pre-norm ViT over slices of 40 ms, no class token. CED shares its
front end and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.mel import StftBank, decibels, hertz_triangles
from distill.teachers.published.network import Encoded, Golden, Network
from distill.teachers.published.system import Architecture, Card, State, System

N_MELS, HOP_SAMPLES, TOP_DB = 64, 160, 120.0


class BandNormViT(Network):
    """features [B, 1, 64, T]; patches with positions of time and frequency apart; clips longer
    than target_length frames are heard in chunks of it."""

    def __init__(self, architecture: Architecture, patch: tuple[int, int]) -> None:
        super().__init__()
        dim, self.patch = architecture["embed_dim"], patch
        self.target_length = architecture["target_length"]
        self.bank = StftBank(hertz_triangles(16_000, 512, N_MELS, 0.0, 8_000.0), 512, HOP_SAMPLES)
        self.min_samples = max(512, (patch[1] - 1) * HOP_SAMPLES)
        self.init_bn = nn.Sequential(nn.Identity(), nn.BatchNorm1d(N_MELS))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, patch, patch)})
        self.n_bands = N_MELS // patch[0]
        n_columns = self.target_length // patch[1]
        self.time_pos_embed = nn.Parameter(torch.zeros(1, dim, 1, n_columns))
        self.freq_pos_embed = nn.Parameter(torch.zeros(1, dim, self.n_bands, 1))
        self.blocks = vit.blocks(architecture, scaled=architecture["init_values"] is not None)
        self.norm = nn.LayerNorm(dim, 1e-6)

    def levels(self, waveform: Tensor) -> Tensor:
        """Log-mel in dB [B, 64, T], limited by each clip's own maximum: the authors take one over
        the batch, so that clips depend on their neighbours."""
        return decibels(self.bank(waveform), TOP_DB)

    def features(self, waveform: Tensor) -> Tensor:
        normed: Tensor = self.init_bn(self.levels(waveform))
        return normed[:, None]

    def chunks(self, features: Tensor) -> list[Tensor]:
        """Of target_length frames, zeros behind the last; a shorter clip stays as it is."""
        parts = list(features.split(self.target_length, 3))
        if len(parts) > 1:
            missing = self.target_length - parts[-1].shape[3]
            parts[-1] = functional.pad(parts[-1], (0, missing))
        return parts

    def hidden(self, features: Tensor) -> tuple[Tensor, ...]:
        """Of one chunk; tokens frequency-major."""
        maps = self.patch_embed["proj"](features)
        maps = maps + self.time_pos_embed[..., : maps.shape[3]] + self.freq_pos_embed
        return vit.run(self.blocks, maps.flatten(2).transpose(1, 2))

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden, self.n_bands, frequency_major=True)

    def timing(self, index: int) -> Timing:
        return patches.centred_timing(self.patch[1], self.patch[1])

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        return {**super().recompute(golden), "log_mel_db": self.levels(golden["waveform"])}


class Dasheng(BandNormViT):
    """hidden: T / 4 tokens."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture, (N_MELS, architecture["patch_size"][1]))

    def encode(self, features: Tensor) -> Encoded:
        parts = [self.hidden(chunk) for chunk in self.chunks(features)]
        n_full, rest = divmod(features.shape[3], self.target_length)
        n_tokens = n_full * (self.target_length // self.patch[1]) + rest // self.patch[1]
        joined = (torch.cat(states, 1) for states in zip(*parts, strict=True))
        hidden = tuple(state[:, :n_tokens] for state in joined)
        return Encoded(hidden, self.norm(hidden[-1]))


def infer(state: State, config: Mapping[str, Any]) -> Architecture:
    """The file's own `config`, its weights, and the longest clip from the positions."""
    wanted = ("target_length", "num_heads", "init_values", "norm_eps")
    known: dict[str, Any] = {name: config[name] for name in wanted if name in config}
    known |= vit.sizes(state)
    if "blocks.0.ls1.gamma" in state:
        known["init_values"] = 1.0
    if "target_length" not in known and {"time_pos_embed", "patch_embed.proj.weight"} <= set(state):
        width = state["patch_embed.proj.weight"].shape[3]
        known["target_length"] = state["time_pos_embed"].shape[3] * width
    return known


DEFAULTS: Architecture = {
    **vit.BASE,
    "init_values": None,
}

SYSTEM = System(
    card=Card(
        title="Dasheng",
        paper="Dinkel et al. 2024, Scaling up masked audio encoder learning",
        code_licence="Apache-2.0",
        weights_licence="Apache-2.0 (repository)",
        checkpoints=("dasheng_base.pt", "dasheng_06b.pt", "dasheng_12b.pt"),
        sizes={
            "base": {},
            "0.6B": {"embed_dim": 1280, "depth": 32, "num_heads": 16},
            "1.2B": {"embed_dim": 1536, "depth": 40, "num_heads": 24},
        },
    ),
    build=Dasheng,
    defaults={**DEFAULTS, "patch_size": (64, 4), "target_length": 1008},
    infer=infer,
    anchor="patch_embed.proj.weight",
    ignored=("front_end", "outputlayer", "decoder", "mask_token"),
)
