"""EAT (Chen et al. 2024) in fairseq's naming: data2vec 2.0 for spectrograms. Post-norm ViT whose
fixed positions are taken from the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import patches, vit
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.published.network import Encoded, Golden, Network, recorded
from distill.teachers.published.system import Architecture, Card, State, System, n_rows
from edge_audio.errors import UsageError

PATCH, N_BANDS = 16, 8
MEAN, STD = -4.268, 4.569
_IMAGE = "modality_encoders.IMAGE"


class Eat(Network):
    """features [B, 1, T, 128]; hidden: the class token and T / 16 * 8 patches."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, n_frames = architecture["embed_dim"], architecture["target_length"]
        n_columns = architecture["max_length"]
        if n_frames % PATCH or n_frames > n_columns * PATCH:
            raise UsageError(
                f"target_length {n_frames}: it must be a multiple of {PATCH}, at most "
                f"{n_columns * PATCH}, for which EAT has positions"
            )
        self.bank = ClipBank(n_frames, MEAN, STD)
        self.min_samples, self.max_samples = self.bank.min_samples, self.bank.max_samples
        self.local_encoder = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, PATCH)})
        self.positions = nn.Parameter(torch.zeros(1, n_columns * N_BANDS, dim))
        self.extra_tokens = nn.Parameter(torch.zeros(1, 1, dim))
        self.context_norm = nn.LayerNorm(dim, architecture["norm_eps"])
        self.blocks = vit.blocks(architecture, post_norm=True)
        self.n_labels = architecture["num_classes"] or 0
        if self.n_labels:
            self.fc_norm = nn.LayerNorm(dim, 1e-6)
            self.head = nn.Linear(dim, self.n_labels)

    def features(self, waveform: Tensor) -> Tensor:
        frames: Tensor = self.bank(waveform)
        return frames[:, None]

    def encode(self, features: Tensor) -> Encoded:
        tokens = patches.time_major(self.local_encoder["proj"](features))
        tokens = tokens + self.positions[:, : tokens.shape[1]]
        summary = self.extra_tokens.expand(len(tokens), -1, -1)
        x = self.context_norm(torch.cat([summary, tokens], 1))
        hidden = vit.run(self.blocks, x)
        if not self.n_labels:
            return Encoded(hidden, hidden[-1])
        return Encoded(hidden, hidden[-1], self.head(self.fc_norm(hidden[-1][:, 0])))

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden[:, 1:], N_BANDS)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(PATCH, PATCH)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        """With what the MLPs make before the last sums, of which the authors make their targets."""
        with recorded(block.get_submodule("ls2") for block in self.blocks) as fed:
            made = super().recompute(golden)
        return made | {"ffn_targets": torch.stack(fed)}


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    length = {"max_length": state["positions"].shape[1] // N_BANDS} if "positions" in state else {}
    return {**vit.sizes(state), **length, "num_classes": n_rows(state, "head.weight") or None}


SYSTEM = System(
    card=Card(
        title="EAT",
        paper="Chen et al. 2024, EAT: Efficient Audio Transformer",
        code_licence="MIT",
        weights_licence="MIT",
        checkpoints=(
            "EAT-base_epoch30_pretrain.pt",
            "EAT-base_epoch30_finetune_AS2M.pt",
            "EAT-base_epoch10_pretrain.pt",
            "EAT-large_epoch20_pretrain.pt",
            "EAT-large_epoch20_finetune_AS2M.pt",
        ),
        sizes={"base": {}, "large": {"embed_dim": 1024, "depth": 24}},
        audioset_map="0.486 (paper)",
    ),
    build=Eat,
    defaults={
        **vit.BASE,
        "max_length": 768,
        "target_length": 1024,
        "num_classes": 527,
    },
    infer=_infer,
    heads=("num_classes",),
    anchor=f"{_IMAGE}.local_encoder.proj.weight",
    keys=(
        (f"{_IMAGE}.fixed_positional_encoder.positions", "positions"),
        (f"{_IMAGE}.context_encoder.norm", "context_norm"),
        (f"{_IMAGE}.local_encoder", "local_encoder"),
        (f"{_IMAGE}.extra_tokens", "extra_tokens"),
    ),
    ignored=(r"modality_encoders\.IMAGE\.decoder", r"_ema"),
)
