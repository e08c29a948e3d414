"""AuM (Erol et al. 2024), Audio Mamba: AST's patches through state spaces in both directions, the
class token in the middle of the sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import mamba, patches
from distill.teachers.bricks.mel import ClipBank
from distill.teachers.published.network import Encoded, Network, states
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

PATCH, N_BANDS = 16, 8


class AuM(Network):
    """features [B, T, 128]; hidden: the patches, frequency-major, with the class token among
    them, then the residual stream behind each layer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, self.n_labels = architecture["embed_dim"], architecture["num_classes"]
        n_frames = architecture["spectrogram_size"][1]
        self.bank = ClipBank(n_frames)
        self.min_samples, self.max_samples = self.bank.min_samples, self.bank.max_samples
        n_patches = n_frames // PATCH * N_BANDS
        self.middle = n_patches // 2 if architecture["use_middle_cls_token"] else 0
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, dim, PATCH, PATCH)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + n_patches, dim))
        ssm, eps = architecture["ssm_cfg"], architecture["norm_eps"]
        self.layers = nn.ModuleList(
            mamba.Layer(
                nn.RMSNorm(dim, eps),
                mamba.MambaMixer(
                    dim,
                    ssm["d_state"],
                    ssm.get("d_conv", 4),
                    ssm.get("expand", 2),
                    architecture["bimamba_type"],
                    architecture["if_devide_out"],
                ),
            )
            for _ in range(architecture["depth"])
        )
        self.norm_f = nn.RMSNorm(dim, eps)
        self.head = nn.Linear(dim, self.n_labels) if self.n_labels else nn.Identity()

    def encode(self, features: Tensor) -> Encoded:
        maps = self.patch_embed["proj"](features.transpose(1, 2)[:, None])
        tokens = maps.flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        summary = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        middle = self.middle
        first = torch.cat([tokens[:, :middle], summary, tokens[:, middle:]], 1)
        hidden = (first, *states(self.layers, first))
        output = self.norm_f(hidden[-1])
        logits = self.head(output[:, middle]) if self.n_labels else None

        def others() -> dict[str, Tensor]:
            residuals = torch.stack(hidden[:-1])
            mixed = torch.stack(hidden[1:]) - residuals
            feature = output[:, middle]
            return {"clip_feature": feature, "residuals": residuals, "mixer_outputs": mixed}

        return Encoded(hidden, output, logits, others)

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        tokens = torch.cat([hidden[:, : self.middle], hidden[:, self.middle + 1 :]], 1)
        return patches.band_mean(tokens, N_BANDS, frequency_major=True)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(PATCH, PATCH)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_frames = (state["pos_embed"].shape[1] - 1) // N_BANDS * PATCH
    n_labels = n_rows(state, "head.weight")
    sizes = {"spectrogram_size": [128, n_frames], "num_classes": n_labels}
    return {**mamba.sizes(state, "layers"), **sizes}


_BASE = {"embed_dim": 768, "bimamba_type": "v1"}

SYSTEM = System(
    card=Card(
        title="AuM (Audio Mamba)",
        paper="Erol et al. 2024, Audio Mamba: Bidirectional State Space Model for Audio "
        "Representation Learning",
        code_licence="none stated",
        weights_licence="none stated",
        checkpoints=("aum-base_audioset", "aum-small", "aum-tiny"),
        sizes={"tiny": {"embed_dim": 192}, "small": {"embed_dim": 384}, "base": _BASE},
    ),
    build=AuM,
    defaults={
        "spectrogram_size": [128, 1024],
        "embed_dim": 768,
        "depth": 24,
        "num_classes": 527,
        "bimamba_type": "v2",
        "if_devide_out": True,
        "use_middle_cls_token": True,
        "norm_eps": 1e-5,
        "ssm_cfg": {"d_state": 16},
    },
    infer=_infer,
    anchor="patch_embed.proj.weight",
    heads=("num_classes",),
    keys=(("pos_embed.pos_embed", "pos_embed"), *mamba.KEYS),
)
