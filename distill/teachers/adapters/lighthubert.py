"""LightHuBERT (Wang et al. 2022): a HuBERT whose checkpoint is a supernet, of which a subnet is
heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.bricks import hubert, waveform_model
from distill.teachers.bricks.supernet import LayerSize, Subnet, cut_encoder
from distill.teachers.published.network import Encoded, Golden, named_arrays
from distill.teachers.published.system import Architecture, Card, State, System

_FIRST = "subnet"
_SUBNETS = {
    "base": Subnet.even(640, 10, 2560)._asdict(),
    "small": Subnet.even(384, 6, 1536)._asdict(),
    "full": Subnet.even(768, 12, 3072)._asdict(),
}


class LightHubert(waveform_model.WaveformModel):
    """hidden: the projected convolutions before positions and norm, then each layer of the subnet
    called "subnet"."""

    def __init__(self, cfg: Architecture) -> None:
        dim = cfg["encoder_embed_dim"]
        super().__init__(cfg, dim)
        self.cfg = cfg
        ffn_dim, n_heads = cfg["encoder_ffn_embed_dim"], cfg["encoder_attention_heads"]
        self.full = LayerSize(dim, dim, n_heads, ffn_dim)
        self.encoder = self._encoder([self.full] * cfg["encoder_layers"])
        heads = {key: nn.Linear(dim, n, bias=False) for key, n in cfg["layer_pred_heads"].items()}
        self.layer_pred_heads = nn.ModuleDict(heads)

    def _encoder(self, sizes: Sequence[LayerSize]) -> hubert.Encoder:
        layers = [
            hubert.Layer(
                size.dim,
                size.n_heads,
                size.ffn_dim,
                inner_dim=size.attention_dim,
                pre_norm=self.cfg["layer_norm_first"],
                activation=self.cfg["activation_fn"],
            )
            for size in sizes
        ]
        dim = sizes[0].dim
        return hubert.Encoder(layers, dim, waveform_model.conv_positions(self.cfg, dim))

    def encode(self, features: Tensor) -> Encoded:
        return self._run(features, _FIRST)

    def _run(self, features: Tensor, name: str) -> Encoded:
        """Through one of the subnets."""
        if f"cut_{name}" not in self._modules:
            self.add_module(f"cut_{name}", self._cut(name))
        dim = self.cfg["subnets"][name]["embed_dim"]
        projected = self.post_extract_proj(features)[..., :dim]
        encoded = self.get_submodule(f"cut_{name}")(projected)
        return Encoded(
            (projected, *encoded.hidden[1:]),
            encoded.output,
            others=lambda: self._prediction(encoded.output),
        )

    def _prediction(self, output: Tensor) -> dict[str, Tensor]:
        """By the last layer's head of pre-training, where the file has it."""
        last = str(len(self.encoder.layers) - 1)
        if last not in self.layer_pred_heads:
            return {}
        weight = self.layer_pred_heads[last].weight
        assert isinstance(weight, Tensor)
        return {"prediction": output @ weight[:, : output.shape[2]].T}

    def _cut(self, name: str) -> hubert.Encoder:
        numbers = self.cfg["subnets"][name]
        subnet = Subnet(*(numbers[field] for field in Subnet._fields))
        device = self.encoder.layer_norm.weight.device
        encoder = self._encoder(subnet.sizes()).to(device)
        with torch.no_grad():
            encoder.load_state_dict(cut_encoder(self.encoder.state_dict(), subnet, self.full))
        return encoder.eval().requires_grad_(False)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        made = super().recompute(golden)
        for name in self.cfg["subnets"].keys() - {_FIRST}:
            arrays = named_arrays(self._run(golden.get("features", made["features"]), name))
            made |= {f"{name}_{key.removeprefix('hidden_')}": one for key, one in arrays.items()}
        return made


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    cfg = config.get("model", config)
    chosen = "full" if cfg.get("_name") == "student_hubert" else "base"
    chosen = "small" if "small" in str(cfg.get("pruner_supernet")) else chosen
    heads = {
        key.split(".")[1]: len(value)
        for key, value in state.items()
        if key.startswith("layer_pred_heads.")
    }
    told = {**waveform_model.infer(state, config), "layer_pred_heads": heads}
    return {**told, "subnets": {_FIRST: _SUBNETS[chosen]}}


SYSTEM = System(
    card=Card(
        title="LightHuBERT",
        paper="Wang et al. 2022, LightHuBERT: Lightweight and Configurable Speech Representation "
        "Learning with Once-for-All Hidden-Unit BERT",
        code_licence="MIT",
        weights_licence="not stated here",
        checkpoints=("lighthubert_base.pt", "lighthubert_small.pt", "lighthubert_stage1.pt"),
        sizes={"base": {}},
    ),
    build=LightHubert,
    defaults={
        **waveform_model.DEFAULTS,
        "layer_pred_heads": {},
        "subnets": {_FIRST: _SUBNETS["base"]},
    },
    infer=_infer,
    anchor="feature_extractor.conv_layers.0.0.weight",
    ignored=waveform_model.PRETRAINING,
)
