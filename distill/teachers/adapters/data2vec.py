"""data2vec for audio (Baevski et al. 2022), fairseq's checkpoints: wav2vec 2.0's body with five
narrow convolutions for positions."""

from __future__ import annotations

from torch import Tensor

from distill.teachers.bricks import waveform_model
from distill.teachers.published.network import Encoded, Golden, recorded
from distill.teachers.published.system import Architecture, Card, System


class Data2Vec(waveform_model.WaveformModel):
    """hidden: the encoder's input behind positions and norm, then each layer."""

    def __init__(self, cfg: Architecture) -> None:
        super().__init__(cfg, cfg["encoder_embed_dim"])
        self.encoder = waveform_model.encoder(cfg, cfg["encoder_layers"])

    def encode(self, features: Tensor) -> Encoded:
        projected = self.post_extract_proj(features)
        encoded = self.encoder(projected)
        others = {"conv_projected": projected}
        return Encoded(encoded.hidden, encoded.output, others=lambda: others)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        """With `ffn_output_k`, of which the authors make their own training targets."""
        with recorded(layer.get_submodule("fc2") for layer in self.encoder.layers) as fed:
            made = super().recompute(golden)
        return made | {f"ffn_output_{index:02}": value for index, value in enumerate(fed, 1)}


SYSTEM = System(
    card=Card(
        title="data2vec audio",
        paper="Baevski et al. 2022, data2vec: A General Framework for Self-supervised Learning",
        code_licence="MIT",
        weights_licence="MIT (fairseq)",
        checkpoints=("audio_base_ls.pt", "audio_large_vox.pt"),
        sizes={
            "base": {},
            "large": {**waveform_model.LARGE, "layer_norm_first": False},
        },
    ),
    build=Data2Vec,
    defaults={
        **waveform_model.DEFAULTS,
        "extractor_mode": "layer_norm",
        "normalize": True,
        "conv_pos": 95,
        "pos_conv_depth": 5,
        "projects": True,
    },
    infer=waveform_model.infer,
    anchor="feature_extractor.conv_layers.0.0.weight",
    ignored=waveform_model.PRETRAINING,
    entries=("model", "model_weight", "state_dict", "module"),
)
