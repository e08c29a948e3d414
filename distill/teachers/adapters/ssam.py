"""SSAM (Yadav, Tan 2024), Self-Supervised Audio Mamba: causal state spaces over patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from distill.teachers.bricks import mamba, unit_model
from distill.teachers.bricks.unit_model import UnitModel
from distill.teachers.published.system import Architecture, Card, State, System


def _build(architecture: Architecture) -> UnitModel:
    ssm, dim = architecture["ssm_cfg"], architecture["embed_dim"]
    blocks = nn.ModuleList(
        mamba.Layer(
            nn.LayerNorm(dim, architecture["norm_eps"]),
            mamba.MambaMixer(dim, ssm["d_state"], ssm["d_conv"], ssm["expand"]),
        )
        for _ in range(architecture["depth"])
    )
    return UnitModel(architecture, blocks)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    return {**mamba.sizes(state, "blocks"), **unit_model.infer_patches(state)}


SYSTEM = System(
    card=Card(
        title="SSAM (Self-Supervised Audio Mamba)",
        paper="Yadav, Tan 2024, Audio Mamba: Selective State Spaces for Self-Supervised Audio "
        "Representations",
        code_licence="MIT",
        weights_licence="not stated beyond the repository's MIT",
        checkpoints=("ssam_tiny_200_16x4", "ssam_small_200_16x4", "ssam_base_200_16x4"),
        sizes=unit_model.SIZES,
    ),
    build=_build,
    defaults={
        **unit_model.DEFAULTS,
        "norm_eps": 1e-6,
        "ssm_cfg": {"d_state": 24, "d_conv": 4, "expand": 3},
    },
    infer=_infer,
    anchor="patch_embed.proj.weight",
    keys=mamba.KEYS,
    ignored=unit_model.IGNORED,
)
