"""CED (Dinkel et al. 2024): small ViTs distilled from an ensemble on AudioSet; Dasheng's front end
and blocks over patches of 16 x 16.

Scores of longer clips are means over chunks of 1012 frames, which is no whole number of patches:
as that shifts the times of hidden layers, longer clips are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill.teachers.adapters.dasheng import DEFAULTS, HOP_SAMPLES, BandNormViT, infer
from distill.teachers.bricks.deit import head
from distill.teachers.published.network import Encoded
from distill.teachers.published.system import Architecture, Card, State, System, n_rows


class Ced(BandNormViT):
    """hidden: 4 * T / 16 tokens, frequency-major."""

    def __init__(self, architecture: Architecture) -> None:
        size = architecture["patch_size"]
        super().__init__(architecture, (size, size))
        self.max_samples = self.target_length * HOP_SAMPLES - 1
        self.n_labels = architecture["outputdim"]
        if self.n_labels:
            self.outputlayer = head(architecture["embed_dim"], self.n_labels)

    def encode(self, features: Tensor) -> Encoded:
        chunks = self.chunks(features)
        if len(chunks) > 1 and features.shape[3] % self.target_length == 0:
            chunks.pop()  # as the authors' code does, by an oversight
        parts = [self.hidden(chunk) for chunk in chunks]
        hidden = tuple(torch.cat(states, 1) for states in zip(*parts, strict=True))
        output = self.norm(hidden[-1])
        if not self.n_labels:
            return Encoded(hidden, output)
        logits = [self.outputlayer(self.norm(states[-1]).mean(1)) for states in parts]
        scores = torch.stack(logits).sigmoid().mean(0)
        clip = logits[0] if len(logits) == 1 else torch.logit(scores)
        return Encoded(hidden, output, clip, lambda: {"probabilities": scores})


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_labels = n_rows(state, "outputlayer.1.weight")
    known: dict[str, Any] = {**infer(state, config), "outputdim": n_labels}
    if "time_pos_embed" in state and "target_length" not in config:
        # 1012 frames have 63 columns, as 1008 have
        known["target_length"] = state["time_pos_embed"].shape[3] * 16 + 4
    return known


SYSTEM = System(
    card=Card(
        title="CED",
        paper="Dinkel et al. 2024, CED: Consistent Ensemble Distillation for Audio Tagging",
        code_licence="GPL-3.0",
        weights_licence="see Zenodo record 8275319",
        checkpoints=(
            "audiotransformer_tiny_mAP_4814.pt",
            "audiotransformer_mini_mAP_4896.pt",
            "audiotransformer_small_mAP_4958.pt",
            "audiotransformer_base_mAP_4999.pt",
        ),
        sizes={
            "tiny": {"embed_dim": 192},
            "mini": {"embed_dim": 256},
            "small": {"embed_dim": 384},
            "base": {},
        },
        audioset_map="0.481 to 0.500 (file names)",
    ),
    build=Ced,
    defaults={**DEFAULTS, "patch_size": 16, "target_length": 1012, "outputdim": 527},
    infer=_infer,
    heads=("outputdim",),
    anchor="patch_embed.proj.weight",
    ignored=("front_end", "decoder", "mask_token"),
)
