"""AxLSTM (Yadav et al. 2025): mLSTM layers over patches, forwards and backwards by turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from distill.teachers.bricks import unit_model
from distill.teachers.bricks.unit_model import UnitModel
from distill.teachers.bricks.xlstm import MLSTMLayer, OffsetNorm
from distill.teachers.published.system import Architecture, Card, State, System, n_layers


class Block(nn.Module):
    """x + layer(norm(x)); backwards: over the reversed sequence, the class token last."""

    def __init__(self, dim: int, inner_dim: int, backwards: bool) -> None:
        super().__init__()
        self.norm, self.layer = OffsetNorm(dim), MLSTMLayer(dim, inner_dim)
        self.backwards = backwards

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        if self.backwards:
            return x + cast("Tensor", self.layer(normed.flip(1))).flip(1)
        return x + cast("Tensor", self.layer(normed))


def _build(architecture: Architecture) -> UnitModel:
    dim = architecture["embed_dim"]
    inner_dim = architecture["expansion_factor"] * dim
    blocks = (Block(dim, inner_dim, index % 2 == 1) for index in range(architecture["depth"]))
    return UnitModel(architecture, nn.ModuleList(blocks))


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    known = unit_model.infer_patches(state)
    inner_dim = len(state["blocks.0.layer.learnable_skip"])
    return {
        **known,
        "depth": n_layers(state, "blocks"),
        "expansion_factor": inner_dim // known["embed_dim"],
    }


SYSTEM = System(
    card=Card(
        title="AxLSTM",
        paper="Yadav et al. 2025, AxLSTMs: learning self-supervised audio representations with "
        "xLSTMs",
        code_licence="MIT; its vision_lstm.py AGPL-3.0",
        weights_licence="not stated",
        checkpoints=("axlstm_tiny_200_16x4", "axlstm_small_200_16x4", "axlstm_base_200_16x4"),
        sizes=unit_model.SIZES,
    ),
    build=_build,
    defaults={**unit_model.DEFAULTS, "expansion_factor": 2},
    infer=_infer,
    anchor="patch_embed.proj.weight",
    ignored=unit_model.IGNORED,
)
