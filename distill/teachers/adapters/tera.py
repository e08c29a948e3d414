"""TERA (Liu et al. 2021) and Mockingjay, as s3prl has them: a BERT over frames of a log-mel that
is normalised by the whole clip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from distill.teachers.base import Timing
from distill.teachers.bricks import hubert, patches
from distill.teachers.bricks.mel import normalised_bands
from distill.teachers.bricks.speech_frames import (
    FFT_SIZE,
    HOP_SAMPLES,
    N_DELTAS,
    N_MELS,
    KaldiFrames,
    MelFrames,
)
from distill.teachers.published.network import Encoded, Golden, Network, named_arrays, states
from distill.teachers.published.system import Architecture, Card, State, System, n_layers

_MASKED = -10_000.0


class Prediction(nn.Module):
    """The head of pre-training: [B, T, D] -> features."""

    def __init__(self, dim: int, out_dim: int, eps: float) -> None:
        super().__init__()
        self.dense, self.output = nn.Linear(dim, dim), nn.Linear(dim, out_dim)
        self.norm = nn.LayerNorm(dim, eps)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.norm(functional.gelu(self.dense(x))))
        return out


class Tera(Network):
    """features [B, T, 80 or 240]; hidden: the normed input, then each layer, through norms of
    its own where norms come first. Long clips are heard in parts."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        cfg, audio = architecture["transformer"], architecture["audio"]
        self.is_kaldi, self.max_frames = "kaldi" in audio, architecture["task"]["sequence_length"]
        self.frames_of = KaldiFrames() if self.is_kaldi else MelFrames(audio["target_level"])
        self.min_samples = FFT_SIZE + HOP_SAMPLES
        n_inputs = N_MELS * (1 + N_DELTAS) if self.is_kaldi else N_MELS
        dim, eps = cfg["hidden_size"], cfg["layer_norm_eps"]
        n_heads, pre_norm = cfg["num_attention_heads"], cfg["pre_layer_norm"]
        self.project, self.norm = nn.Linear(n_inputs, dim), nn.LayerNorm(dim, eps)
        self.layers = nn.ModuleList(
            hubert.Layer(dim, n_heads, cfg["intermediate_size"], pre_norm=pre_norm)
            for _ in range(cfg["num_hidden_layers"])
        )
        for layer in self.layers.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.eps = eps
        n_norms = 1 + len(self.layers) if pre_norm else 0
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps) for _ in range(n_norms))
        self.head = Prediction(dim, n_inputs, eps) if architecture["predicts"] else None

    def features(self, waveform: Tensor) -> Tensor:
        return normalised_bands(self.frames_of(waveform))

    def padded_features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Of rows with zeros behind them, as the authors batch clips: the last window of a shorter
        one is mirrored at the end of its zeros."""
        assert isinstance(self.frames_of, MelFrames)
        levels = self.frames_of(waveform, lengths)
        samples_per_frame = waveform.shape[1] / levels.shape[1]
        counts = [round(n / samples_per_frame) for n in lengths.tolist()]
        rows = [normalised_bands(row[None, :n])[0] for row, n in zip(levels, counts, strict=True)]
        return pad_sequence(rows, batch_first=True)

    def encode(self, features: Tensor) -> Encoded:
        n_frames = features.shape[1]
        n_parts = math.ceil(n_frames / self.max_frames) if self.max_frames else 1
        parts = [self._run(part) for part in features.split(math.ceil(n_frames / n_parts), 1)]
        hidden = tuple(torch.cat(layer, 1) for layer in zip(*parts, strict=True))
        head = self.head
        others = dict if head is None else lambda: {"prediction": head(hidden[-1])}
        return Encoded(hidden, hidden[-1], others=others)

    def _run(self, features: Tensor) -> tuple[Tensor, ...]:
        projected = self.project(features)
        first = self.norm(projected + sinusoids(*projected.shape[1:]).to(projected))
        hidden = (first, *states(self.layers, first, None, _padding(features)))
        if not self.norms:
            return hidden
        return tuple(norm(state) for norm, state in zip(self.norms, hidden, strict=True))

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        lengths = {name: value for name, value in golden.items() if "length" in name}
        if not lengths:
            return super().recompute(golden)
        n_samples = max(lengths.values(), key=lambda value: int(value.max()))
        features = self.padded_features(golden["waveform"], n_samples.reshape(-1))
        encoded = self.encode(golden.get("features", features))
        return {"features": features, **lengths, **named_arrays(encoded)}

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        return hidden

    def timing(self, index: int) -> Timing:
        return patches.kaldi_timing(1, 1) if self.is_kaldi else patches.centred_timing(1, 1)


def _padding(features: Tensor) -> Tensor:
    """[B, 1, 1, T], what is added to scores: behind the count of frames that are not all zeros,
    which is the authors' sign of padding."""
    n_real = (features.sum(2) != 0.0).sum(1, keepdim=True)
    places = torch.arange(features.shape[1], device=features.device)
    return (places >= n_real).to(features)[:, None, None] * _MASKED


def sinusoids(n_frames: int, dim: int) -> Tensor:
    """[T, D]: sines in even channels, cosines in odd ones."""
    rate = 10_000.0 ** (-2.0 * (torch.arange(dim) // 2) / dim)
    angle = torch.arange(n_frames)[:, None] * rate
    return torch.where(torch.arange(dim) % 2 == 0, angle.sin(), angle.cos())


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    dim, n_inputs = state["project.weight"].shape
    sizes = {
        "hidden_size": dim,
        "num_hidden_layers": n_layers(state, "layers"),
        "num_attention_heads": max(1, dim // 64),
        "intermediate_size": len(state["layers.0.fc1.bias"]),
        "pre_layer_norm": "norms.0.weight" in state,
    }
    told = {name: config[name] for name in ("transformer", "task", "audio") if name in config}
    audio: dict[str, Any] = {"kaldi": {}} if n_inputs > N_MELS else {"target_level": -25}
    transformer = {**SYSTEM.defaults["transformer"], **sizes, **told.pop("transformer", {})}
    predicts = "head.dense.weight" in state
    return {"audio": audio, **told, "transformer": transformer, "predicts": predicts}


_LAYER_KEYS = (
    ("attention.self.query", "self_attn.q_proj"),
    ("attention.self.key", "self_attn.k_proj"),
    ("attention.self.value", "self_attn.v_proj"),
    ("attention.output.dense", "self_attn.out_proj"),
    ("attention.output.LayerNorm", "self_attn_layer_norm"),
    ("intermediate.dense", "fc1"),
    ("output.dense", "fc2"),
    ("output.LayerNorm", "final_layer_norm"),
)

SYSTEM = System(
    card=Card(
        title="TERA, Mockingjay",
        paper="Liu, Li, Lee 2021, TERA: Self-Supervised Learning of Transformer Encoder "
        "Representation for Speech",
        code_licence="Apache-2.0",
        weights_licence="CC BY-NC 4.0",
        non_commercial=True,
        checkpoints=(
            "tera_logMelBase_T_F_M_AdamW_b32_200k_100hr",
            "tera_logMelBase_T_F_M_AdamW_b32_1m_960hr_drop1",
            "mockingjay_logMelBase_T_AdamW_b32_1m_960hr",
        ),
        sizes={"base": {}},
    ),
    build=Tera,
    defaults={
        "transformer": {
            "hidden_size": 768,
            "num_hidden_layers": 3,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "layer_norm_eps": 1e-12,
            "pre_layer_norm": False,
        },
        "task": {"sequence_length": 1500},
        "audio": {"target_level": -25},
        "predicts": False,
    },
    infer=_infer,
    anchor="input_representations.spec_transform.weight",
    keys=(
        ("gamma", "weight"),
        ("beta", "bias"),
        ("input_representations.spec_transform", "project"),
        ("input_representations.LayerNorm", "norm"),
        ("encoder.layer", "layers"),
        ("encoder.LayerNorm", "norms"),
        *_LAYER_KEYS,
        ("SpecHead.LayerNorm", "head.norm"),
        ("SpecHead", "head"),
    ),
    # with norms first, the same two norms of a layer are stored under two names each
    ignored=(r"encoder\.layer\.\d+\.(attention\.)?LayerNorm\.",),
    entries=("Transformer", "model", "state_dict"),
)
