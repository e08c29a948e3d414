"""k2SSL (Yang et al. 2024): HuBERT's pre-training with a Zipformer in place of the transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from distill.teachers.bricks import waveform_model, zipformer
from distill.teachers.published.network import Encoded
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

_TEMPERATURE = 0.1


class K2SSL(waveform_model.WaveformModel):
    """hidden: the projected convolutions, then each stack, at 20 ms. others: `logits` over the
    classes of pre-training, where the file has them."""

    def __init__(self, cfg: Architecture) -> None:
        sizes = zipformer.stack_sizes(cfg)
        super().__init__(cfg, sizes[0].dim)
        self.encoder = zipformer.Zipformer(sizes)
        n_classes = cfg["n_classes"]
        dim = max(size.dim for size in sizes)
        self.final_proj = nn.Linear(dim, n_classes) if n_classes else None

    def encode(self, features: Tensor) -> Encoded:
        projected = self.post_extract_proj(features)
        hidden = [outer for outer, _ in self.encoder(projected)]
        output = zipformer.widest(hidden)
        others = dict if self.final_proj is None else lambda: self._logits(output)
        return Encoded((projected, *hidden), output, others=others)

    def _logits(self, output: Tensor) -> dict[str, Tensor]:
        assert self.final_proj is not None
        return {"logits": self.final_proj(output) / _TEMPERATURE}


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    return {"n_classes": n_rows(state, "final_proj.weight")}


SYSTEM = System(
    card=Card(
        title="k2SSL",
        paper="Yang et al. 2024, k2SSL: A Faster and Better Framework for Self-Supervised Speech "
        "Representation Learning",
        code_licence="Apache-2.0, parts MIT",
        weights_licence="not stated here",
        checkpoints=("an icefall checkpoint: its architecture has to be given",),
        sizes={"base": {}},
    ),
    build=K2SSL,
    defaults={
        **waveform_model.DEFAULTS,
        "normalize": True,
        "num_encoder_layers": "2,2,3,4,3,2",
        "downsampling_factor": "1,2,4,8,4,2",
        "feedforward_dim": "512,768,1024,1536,1024,768",
        "num_heads": "4,4,4,8,4,4",
        "encoder_dim": "192,256,384,512,384,256",
        "query_head_dim": "32",
        "value_head_dim": "12",
        "pos_head_dim": "4",
        "pos_dim": 48,
        "cnn_module_kernel": "31,31,15,15,15,31",
        "n_classes": 0,
    },
    infer=_infer,
    anchor="feature_extractor.conv_layers.0.0.weight",
    ignored=(r"mask_emb$", r"encoder\.downsample_output", *zipformer.UNUSED),
)
