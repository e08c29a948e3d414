"""LEAF (Zeghidour et al. 2021) in leaf-pytorch's naming: a learned front end alone, whose pooled
powers and features a student may regress. What stands behind it in a classifier is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from distill.teachers.base import Timing
from distill.teachers.bricks.leaf import Leaf
from distill.teachers.published.network import Encoded, Golden, Network, named_arrays
from distill.teachers.published.system import Architecture, Card, State, System


class LeafNetwork(Network):
    """features: the waveform itself [B, n]; hidden [B, channels, T]: responses, powers, pooled."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.leaf = Leaf(architecture["n_filters"], architecture["kernel"])

    def features(self, waveform: Tensor) -> Tensor:
        return waveform

    def encode(self, features: Tensor) -> Encoded:
        made = self.leaf(features)
        hidden = (made.responses, made.powers, made.pooled)
        return Encoded(hidden, made.features, others=lambda: {"smoother": made.smoothed})

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden.transpose(1, 2)

    def timing(self, index: int) -> Timing:
        return Timing(self.leaf.hop_samples / self.sample_rate_hz, 0.0)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        made = named_arrays(self.encode(golden["waveform"].flatten(0, -2)))
        return {**made, "features": made["output"]}


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    key = "leaf._complex_conv._kernel"
    return {"n_filters": len(state[key])} if key in state else {}


SYSTEM = System(
    card=Card(
        title="LEAF",
        paper="Zeghidour et al. 2021, LEAF: A Learnable Frontend for Audio Classification",
        code_licence="MIT",
        weights_licence="none stated",
        checkpoints=("part of leaf-pytorch's classifiers",),
        sizes={"40 filters": {}},
    ),
    build=LeafNetwork,
    defaults={"n_filters": 40, "kernel": 401},
    infer=_infer,
    anchor="_complex_conv._kernel",
    keys=tuple(
        (f"{name}", f"leaf.{name}") for name in ("_complex_conv", "_pooling", "_compression")
    ),
    ignored=("(?!_)",),
)
