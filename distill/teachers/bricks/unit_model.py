"""What AxLSTM and SSAM, by one author (Yadav, Tan 2024), have in common: a log-mel normalised over
the clip, units of a fixed length that are sequences of their own, and an output whose rows mix
times."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import patches
from distill.teachers.bricks.mel import FLOAT32_EPSILON, StftBank, hertz_triangles
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, State

FFT_SIZE, HOP_SAMPLES, N_MELS = 400, 160, 80
DEFAULTS: Architecture = {
    "img_size": [200, N_MELS],
    "patch_size": [4, 16],
    "embed_dim": 768,
    "depth": 12,
}
SIZES: Mapping[str, Architecture] = {
    "tiny": {"embed_dim": 192},
    "small": {"embed_dim": 384},
    "base": {},
}
IGNORED = ("mask_token", r"pred\.")


class UnitModel(Network):
    """features [B, 1, T, 80]; hidden: for each unit a class token and its patches, time-major,
    then the residual stream behind each block, the units behind each other.

    output: rows as the authors regroup them, taking time-major tokens for frequency-major ones;
    `frames` has them in their true order.
    """

    def __init__(self, architecture: Architecture, blocks: nn.ModuleList) -> None:
        super().__init__()
        dim, patch = architecture["embed_dim"], architecture["patch_size"]
        self.unit, self.patch = architecture["img_size"][0], tuple(patch)
        self.n_bands = N_MELS // patch[1]
        self.min_samples = FFT_SIZE
        triangles = hertz_triangles(self.sample_rate_hz, FFT_SIZE, N_MELS, 50.0, 8_000.0)
        self.bank = StftBank(triangles, FFT_SIZE, HOP_SAMPLES)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, self.patch, self.patch)})
        n_tokens = self.unit // patch[0] * self.n_bands
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + n_tokens, dim))
        self.blocks, self.encoder_norm = blocks, nn.LayerNorm(dim, 1e-6)

    def levels(self, waveform: Tensor) -> Tensor:
        """[B, T, 80]: the log-mel before the clip's statistics."""
        levels: Tensor = (self.bank(waveform) + FLOAT32_EPSILON).log().transpose(1, 2)
        return levels

    def features(self, waveform: Tensor) -> Tensor:
        levels = self.levels(waveform)
        mean, std = levels.mean((1, 2), keepdim=True), levels.std((1, 2), keepdim=True)
        return ((levels - mean) / (std + 1e-8))[:, None]

    def encode(self, features: Tensor) -> Encoded:
        n_clips, missing = len(features), self.unit - features.shape[2] % self.unit
        padded = functional.pad(features, (0, 0, 0, missing))
        units = padded.unflatten(2, (-1, self.unit)).transpose(1, 2).flatten(0, 1)
        tokens = patches.time_major(self.patch_embed["proj"](units)) + self.pos_embed[:, 1:]
        summary = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        first = torch.cat([summary, tokens], 1)
        hidden = (first, *states(self.blocks, first))
        normed = self.encoder_norm(hidden[-1])
        mixed = normed[:, 1:].unflatten(1, (self.n_bands, -1)).transpose(1, 2).flatten(2)
        rows = self._joined(mixed, n_clips)
        output = rows[:, : rows.shape[1] - int(mixed.shape[1] * missing / self.unit)]
        joined = tuple(self._joined(state, n_clips) for state in hidden)
        return Encoded(
            joined,
            output,
            others=lambda: {
                "encoder_norm_output": self._joined(normed, n_clips),
                "frames_before_cut": rows,
                "scene_embedding": output.mean(1),
            },
        )

    def _joined(self, units: Tensor, n_clips: int) -> Tensor:
        """Of [B * units, N, D], those of a clip behind each other."""
        out: Tensor = units.unflatten(0, (n_clips, -1)).flatten(1, 2)
        return out

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        units = hidden.unflatten(1, (-1, self.pos_embed.shape[1]))[:, :, 1:]
        return patches.band_mean(units.flatten(1, 2), self.n_bands)

    def timing(self, index: int) -> Timing:
        return patches.centred_timing(self.patch[0], self.patch[0])


def infer_patches(state: State) -> Architecture:
    """Width, patches and length of a unit, by the weights."""
    dim, _, *patch = state["patch_embed.proj.weight"].shape
    n_columns = (state["pos_embed"].shape[1] - 1) // (N_MELS // patch[1])
    return {"embed_dim": dim, "patch_size": patch, "img_size": [n_columns * patch[0], N_MELS]}
