"""WavLM (Chen et al. 2022) and UniSpeech-SAT in the original naming: HuBERT with a gated relative
position bias, or without it."""

from __future__ import annotations

from torch import Tensor

from distill.teachers.bricks import hubert, waveform_model
from distill.teachers.published.network import Encoded
from distill.teachers.published.system import Architecture, Card, System


class WavLM(waveform_model.WaveformModel):
    """hidden: the encoder's input behind positions (and norm, where norms come last), then each
    layer, never through the last norm, which `output` of the large model has passed."""

    def __init__(self, cfg: Architecture) -> None:
        super().__init__(cfg, cfg["encoder_embed_dim"])
        gate: hubert.Gate = "input" if cfg["gru_rel_pos"] else ""
        bias = hubert.PositionBias(cfg["num_buckets"], cfg["max_distance"], gate)
        self.encoder = waveform_model.encoder(
            cfg, cfg["encoder_layers"], bias=bias if cfg["relative_position_embedding"] else None
        )

    def encode(self, features: Tensor) -> Encoded:
        projected = self.post_extract_proj(features)
        encoded = self.encoder(projected)
        others = {"conv_projected": projected}
        return Encoded(encoded.hidden, encoded.output, others=lambda: others)


SYSTEM = System(
    card=Card(
        title="WavLM, UniSpeech-SAT",
        paper="Chen et al. 2022, WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack "
        "Speech Processing",
        code_licence="MIT",
        weights_licence="not stated (WavLM, MIT code); CC BY-SA 3.0 (UniSpeech-SAT)",
        checkpoints=("WavLM-Base.pt", "WavLM-Base+.pt", "WavLM-Large.pt"),
        sizes={
            "WavLM-Base": {"relative_position_embedding": True, "gru_rel_pos": True},
            "WavLM-Large": {
                **waveform_model.LARGE,
                "relative_position_embedding": True,
                "gru_rel_pos": True,
            },
            "UniSpeech-SAT base": {},
        },
    ),
    build=WavLM,
    defaults={
        **waveform_model.DEFAULTS,
        "relative_position_embedding": False,
        "gru_rel_pos": False,
        "num_buckets": 320,
        "max_distance": 800,
    },
    infer=waveform_model.infer,
    anchor="feature_extractor.conv_layers.0.0.weight",
    ignored=waveform_model.PRETRAINING,
)
