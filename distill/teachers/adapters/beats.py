"""BEATs (Chen et al. 2023) and OpenBEATs: patches of a kaldi filter bank, time-major and without
a class token, through a HuBERT-like encoder whose relative positions count tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from distill.teachers.base import Timing
from distill.teachers.bricks import hubert, patches
from distill.teachers.bricks.mel import KaldiBank
from distill.teachers.published.network import Encoded, Golden, Network, named_arrays
from distill.teachers.published.system import Architecture, Card, State, System, n_rows

PCM_SCALE = 32_768  # kaldi hears 16-bit integers


class Beats(Network):
    """features [B, T, 128]; hidden: T / 16 * 8 tokens."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.mean, self.std = architecture["fbank_mean"], architecture["fbank_std"]
        self.patch, inner_dim = architecture["input_patch_size"], architecture["embed_dim"]
        self.n_bands = 128 // self.patch
        dim = architecture["encoder_embed_dim"]
        self.bank = KaldiBank(window="povey")
        self.min_samples = self.bank.window_samples + (self.patch - 1) * self.bank.hop_samples
        bias = architecture["conv_bias"]
        self.patch_embedding = nn.Conv2d(1, inner_dim, self.patch, self.patch, bias=bias)
        self.layer_norm = nn.LayerNorm(inner_dim)
        self.post_extract_proj = nn.Linear(inner_dim, dim) if inner_dim != dim else nn.Identity()
        self.encoder = _encoder(architecture)
        self.n_labels = architecture["predictor_class"]
        if self.n_labels:
            self.predictor = nn.Linear(dim, self.n_labels)

    def features(self, waveform: Tensor) -> Tensor:
        frames: Tensor = self.bank(waveform * PCM_SCALE)
        normalised: Tensor = (frames - self.mean) / (2 * self.std)
        return normalised

    def encode(self, features: Tensor, padding: Tensor | None = None) -> Encoded:
        """padding [B, N]: True at tokens without sound."""
        embedded = patches.time_major(self.patch_embedding(features[:, None]))
        encoded = self.encoder(self.post_extract_proj(self.layer_norm(embedded)), padding)
        if not self.n_labels:
            others = {"patch_embed": embedded}
            return Encoded(encoded.hidden, encoded.output, others=lambda: others)
        tokens = self.predictor(encoded.output)
        real = 1.0 - (torch.zeros(tokens.shape[:2]) if padding is None else padding.float())
        real = real.to(tokens)[..., None]
        logits = (tokens * real).sum(1) / real.sum(1)
        return Encoded(
            encoded.hidden,
            encoded.output,
            logits,
            lambda: {
                "patch_embed": embedded,
                "token_logits": tokens,
                "probabilities": torch.sigmoid(logits),
            },
        )

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return patches.band_mean(hidden, self.n_bands)

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(self.patch, self.patch)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        if "waveform_padding_mask" not in golden:
            return super().recompute(golden)
        features = golden.get("features", self.features(golden["waveform"]))
        frame_mask = grouped(golden["waveform_padding_mask"], features.shape[1])
        mask = grouped(frame_mask, features.shape[1] // self.patch * self.n_bands)
        made = {"features": features, "token_padding_mask": mask}
        return made | named_arrays(self.encode(features, mask))


def grouped(padding: Tensor, n_groups: int) -> Tensor:
    """A mask [B, n] in groups of n // n_groups, which are padding if all of it is: the authors'
    rule, whose groups are not the windows of frames."""
    size = padding.shape[1] // n_groups
    out: Tensor = padding[:, : size * n_groups].unflatten(1, (n_groups, size)).all(2)
    return out


def _encoder(architecture: Architecture) -> hubert.Encoder:
    dim, n_layers = architecture["encoder_embed_dim"], architecture["encoder_layers"]
    pre_norm = architecture["layer_norm_first"]
    is_deep = architecture["deep_norm"] and not pre_norm
    layers = [
        hubert.Layer(
            dim,
            architecture["encoder_attention_heads"],
            architecture["encoder_ffn_embed_dim"],
            pre_norm=pre_norm,
            gate="query" if architecture["gru_rel_pos"] else "",
            activation=architecture["activation_fn"],
            alpha=(2 * n_layers) ** 0.25 if is_deep else 1.0,
        )
        for _ in range(n_layers)
    ]
    kernel, groups = architecture["conv_pos"], architecture["conv_pos_groups"]
    bias = None
    if architecture["relative_position_embedding"]:
        bias = hubert.PositionBias(architecture["num_buckets"], architecture["max_distance"])
    return hubert.Encoder(layers, dim, hubert.conv_positions(dim, kernel, groups), bias)


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    known = {name: config[name] for name in SYSTEM.defaults if name in config}
    return {**known, "predictor_class": n_rows(state, "predictor.weight")}


_LARGE = {
    "encoder_embed_dim": 1024,
    "encoder_layers": 24,
    "encoder_attention_heads": 16,
    "encoder_ffn_embed_dim": 4096,
}

SYSTEM = System(
    card=Card(
        title="BEATs",
        paper="Chen et al. 2023, BEATs: Audio Pre-Training with Acoustic Tokenizers",
        code_licence="MIT",
        weights_licence="MIT",
        checkpoints=(
            "BEATs_iter3_plus_AS2M.pt",
            "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt",
            "BEATs_iter3_plus_AS20K.pt",
            "BEATs_iter1.pt",
            "BEATs_iter2.pt",
            "BEATs_iter3.pt",
            "OpenBEATs-Base",
            "OpenBEATs-Large",
        ),
        sizes={"Base": {}, "OpenBEATs Large": _LARGE},
        audioset_map="0.486 (paper)",
    ),
    build=Beats,
    defaults={
        "input_patch_size": 16,
        "embed_dim": 512,
        "conv_bias": False,
        "encoder_layers": 12,
        "encoder_embed_dim": 768,
        "encoder_ffn_embed_dim": 3072,
        "encoder_attention_heads": 12,
        "activation_fn": "gelu",
        "layer_norm_first": False,
        "deep_norm": True,
        "conv_pos": 128,
        "conv_pos_groups": 16,
        "relative_position_embedding": True,
        "num_buckets": 320,
        "max_distance": 800,
        "gru_rel_pos": True,
        "predictor_class": 0,
        "fbank_mean": 15.41663,
        "fbank_std": 6.55582,
    },
    infer=_infer,
    heads=("predictor_class",),
    anchor="patch_embedding.weight",
    ignored=(
        r"encoder\.layers\.(?!0\.)\d+\.self_attn\.relative_attention_bias",
        "patch_embedding_pad",
        "raw2fbank_pad",
        "decoder",
    ),
)
