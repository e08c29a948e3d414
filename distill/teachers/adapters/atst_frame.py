"""ATST-Frame (Li et al. 2024): a pre-norm ViT over slices of 40 ms, one token each, and what
ATST-Clip shares with it.

The clips of the authors are cut into chunks of 1001 frames, which are heard apart; as that shifts
the times of what follows, longer clips are refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.mel import StftBank, decibels, hertz_triangles
from distill.teachers.published.network import Encoded, Golden, Network, named_arrays
from distill.teachers.published.system import Architecture, Card, State, System

LOWEST_DB, HIGHEST_DB, TOP_DB = -79.6482, 50.6842, 80.0
N_MELS, PATCH, HOP_SAMPLES = 64, 4, 160
_MASKED = -10_000.0
N_SUMMED = 3
"""Last blocks that embeddings of whole clips are made of."""


class Atst(Network):
    """features [B, 1, 64, T]; hidden: T / 4 tokens, raw residual streams."""

    has_class_token = False

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, n_frames = architecture["embed_dim"], architecture["spec_w"]
        triangles = hertz_triangles(16_000, 1024, N_MELS, 60.0, 7_800.0)
        self.bank = StftBank(triangles, 1024, HOP_SAMPLES)
        self.n_frames = n_frames
        self.min_samples = self.bank.fft_size
        self.max_samples = n_frames * HOP_SAMPLES - 1
        self.patch_embed = nn.ModuleDict({"patch_embed": nn.Linear(N_MELS * PATCH, dim)})
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + n_frames // PATCH, dim))
        self.blocks = vit.blocks(architecture, qkv_bias=False)
        self.norm = nn.LayerNorm(dim, 1e-6)
        if self.has_class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))

    def features(self, waveform: Tensor) -> Tensor:
        levels = decibels(self.bank(waveform), TOP_DB)
        return ((levels - LOWEST_DB) / (HIGHEST_DB - LOWEST_DB) * 2.0 - 1.0)[:, None]

    def encode(self, features: Tensor, n_frames: Tensor | None = None) -> Encoded:
        """n_frames [B]: those of each row that are real."""
        chunks = features.split(self.n_frames, 3)
        parts = [self._hidden(chunk, n_frames) for chunk in chunks if chunk.shape[3] >= PATCH]
        hidden = tuple(torch.cat(states, 1) for states in zip(*parts, strict=True))
        return Encoded(
            hidden, self.norm(hidden[-1]), others=lambda: self._summaries(hidden, n_frames)
        )

    def _hidden(self, features: Tensor, n_frames: Tensor | None) -> tuple[Tensor, ...]:
        n_tokens = features.shape[3] // PATCH
        sliced = features[:, 0, :, : n_tokens * PATCH].unflatten(2, (n_tokens, PATCH))
        x = self.patch_embed["patch_embed"](sliced.transpose(1, 2).flatten(2))
        if self.has_class_token:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
            x = x + self.pos_embed[:, : n_tokens + 1]
        else:  # the first row is left over from a class token
            x = x + self.pos_embed[:, 1 : n_tokens + 1]
        bias = None
        if n_frames is not None:
            padding = ~self._are_real(x.shape[1], n_frames)
            bias = padding[:, None, None].to(x) * _MASKED
        return vit.run(self.blocks, x, bias)

    def _are_real(self, n_tokens: int, n_frames: Tensor) -> Tensor:
        """bool[B, n_tokens], the class token included."""
        n_real = n_frames // PATCH + self.has_class_token
        return torch.arange(n_tokens, device=n_frames.device) < n_real[:, None]

    def _summaries(self, hidden: tuple[Tensor, ...], n_frames: Tensor | None) -> dict[str, Tensor]:
        normed = [self.norm(state) for state in hidden[-N_SUMMED:]]
        means = [self._mean(state, n_frames) for state in normed]
        if not self.has_class_token:
            return {"concatenated_norms": torch.cat(normed, 2), "scene": torch.cat(means, 1)}
        classes = [state[:, 0] for state in normed]
        return {"clip_embedding": torch.cat([*classes, *means], 1)}

    def _mean(self, state: Tensor, n_frames: Tensor | None) -> Tensor:
        """Over real patches, by the authors' divisor."""
        real = torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)
        if n_frames is not None:
            real = self._are_real(state.shape[1], n_frames)
        weights = real[:, self.has_class_token :, None].to(state)
        total = (state[:, self.has_class_token :] * weights).sum(1)
        return total / (weights.sum(1) + 1e-6)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden[:, self.has_class_token :]

    def timing(self, index: int) -> Timing:
        return patches.centred_timing(PATCH, PATCH)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        lengths = {name: value for name, value in golden.items() if name.startswith("length")}
        if not lengths:
            return super().recompute(golden)
        (n_frames,) = lengths.values()
        features = self.features(golden["waveform"].flatten(0, -2))
        given = golden.get("features", features)
        encoded = self.encode(given, n_frames.long().reshape(-1))
        return {"features": features, **lengths, **named_arrays(encoded)}


def infer(state: State, config: Mapping[str, Any]) -> Architecture:
    """Width and depth from the weights, the longest clip from the positions."""
    known: dict[str, Any] = dict(vit.sizes(state))
    if "pos_embed" in state:
        known["spec_w"] = (state["pos_embed"].shape[1] - 1) * PATCH + 1
    return known


DEFAULTS: Architecture = {
    **vit.BASE,
    "spec_w": 1001,
}
SIZES: Mapping[str, Architecture] = {"base": {}, "small": {"embed_dim": 384}}
PREFIXES = ("model.teacher.encoder.", "teacher.encoder.", "encoder.", "module.encoder.")
IGNORED = ("model", "module", "student", "teacher", "mask_embed", "projector", "predictor", "head")
ENTRIES = ("state_dict", "teacher", "model")

SYSTEM = System(
    card=Card(
        title="ATST-Frame",
        paper="Li, Shao, Li 2024, Self-supervised Audio Teacher-Student Transformer",
        code_licence="none stated",
        weights_licence="CC BY 4.0",
        checkpoints=("atstframe_base.ckpt", "atstframe_small.ckpt"),
        sizes=SIZES,
        audioset_map="0.480 (paper)",
    ),
    build=Atst,
    defaults=DEFAULTS,
    infer=infer,
    anchor="patch_embed.patch_embed.weight",
    prefixes=PREFIXES,
    keys=(("norm_frame", "norm"),),
    ignored=IGNORED,
    entries=ENTRIES,
)
