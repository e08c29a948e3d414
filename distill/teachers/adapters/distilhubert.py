"""DistilHuBERT (Chang et al. 2022): two layers that imitate several of HuBERT's, a prediction for
each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.bricks import waveform_model
from distill.teachers.published.network import Encoded
from distill.teachers.published.system import Architecture, Card, State, System


class Predictions(nn.Module):
    """[B, T, D] -> [B, tasks, T, out]: a hidden layer and a matrix [in, out] for each task."""

    def __init__(self, n_tasks: int, dim: int, inner_dim: int, out_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, n_tasks * inner_dim)
        self.weight = nn.Parameter(torch.zeros(n_tasks, inner_dim, out_dim))
        self.bias = nn.Parameter(torch.zeros(1, 1, n_tasks, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(self.hidden(x)).unflatten(2, (len(self.weight), -1))
        out: Tensor = inner.transpose(1, 2) @ self.weight + self.bias[0, 0, :, None]
        return out


class DistilHubert(waveform_model.WaveformModel):
    """hidden: the projected convolutions before positions, which no norm precedes, then each
    layer."""

    def __init__(self, cfg: Architecture) -> None:
        dim = cfg["encoder_embed_dim"]
        super().__init__(cfg, dim)
        self.layer_norm = nn.Identity()
        self.encoder = waveform_model.encoder(cfg, cfg["encoder_layers"])
        inner_dim = cfg["out_layer_inter_dim"]
        inner_dim = dim if inner_dim == -1 else inner_dim
        self.output_layer = Predictions(cfg["n_tasks"], dim, inner_dim, cfg["final_dim"])

    def encode(self, features: Tensor) -> Encoded:
        projected = self.post_extract_proj(features)
        encoded = self.encoder(projected)
        return Encoded(
            (projected, *encoded.hidden[1:]),
            encoded.output,
            others=lambda: {"prediction": self.output_layer(encoded.output)},
        )


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    n_tasks, inner_dim, out_dim = state["output_layer.weight"].shape
    heads = {"n_tasks": n_tasks, "out_layer_inter_dim": inner_dim, "final_dim": out_dim}
    told = {**waveform_model.infer(state, config.get("distiller", {})), **heads}
    convs = {"conv_feature_layers": told.get("extractor_conv_feature_layers")}
    return {**told, **convs} if convs["conv_feature_layers"] else told


SYSTEM = System(
    card=Card(
        title="DistilHuBERT",
        paper="Chang, Yang, Lee 2022, DistilHuBERT: Speech Representation Learning by Layer-wise "
        "Distillation of Hidden-unit BERT",
        code_licence="Apache-2.0, parts MIT",
        weights_licence="not stated: released with the Apache-2.0 code",
        checkpoints=("distilhubert_ls960_4-8-12.ckpt",),
        sizes={"base": {}},
    ),
    build=DistilHubert,
    defaults={
        **waveform_model.DEFAULTS,
        "encoder_layers": 2,
        "n_tasks": 3,
        "out_layer_inter_dim": -1,
        "final_dim": 768,
    },
    infer=_infer,
    anchor="feature_extractor.conv_layers.0.0.weight",
    keys=(
        ("output_layer.0", "output_layer.hidden"),
        ("output_layer.2", "output_layer"),
    ),
    entries=("Distiller", "model", "state_dict"),
)
