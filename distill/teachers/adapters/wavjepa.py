"""WavJEPA (Yuksel et al. 2025), one channel: convolutions over segments of 2.01 s of the waveform,
then a post-norm transformer over each.

The authors append a whole segment of zeros to a clip of whole segments, of which nothing is kept:
here there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import vit
from distill.teachers.bricks.waveform import WaveformConvs
from distill.teachers.published.network import Encoded, Golden, Network, named_arrays
from distill.teachers.published.system import Architecture, Card, State, System

LEVEL = 10 ** (-14 / 20)
_RATE_HZ = 16_000


class WavJepa(Network):
    """features [B, segments, samples]; hidden: the frames of all segments, 100 in a second."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim, convs = architecture["d_model"], architecture["conv_layers_spec"]
        self.segment_s = architecture["process_audio_seconds"]
        self.segment_samples = round(self.segment_s * _RATE_HZ)
        self.convs = WaveformConvs(convs)
        self.min_samples = self.convs.field_samples
        hop = self.convs.hop_samples
        self.n_frames = (self.segment_samples - self.min_samples) // hop + 1
        self.n_between = round(self.segment_samples / hop) - self.n_frames
        self.feature_norms = nn.LayerNorm(convs[-1][0])
        width = convs[-1][0]
        self.post_extraction_mapper = nn.Linear(width, dim) if width != dim else nn.Identity()
        self.pos_encoding_encoder = nn.Parameter(torch.zeros(1, self.n_frames, dim))
        shape = {"embed_dim": dim, "depth": architecture["num_layers"]}
        shape |= {"num_heads": architecture["nhead"], "norm_eps": architecture["layer_norm_eps"]}
        shape["mlp_ratio"] = architecture["dim_feedforward"] / dim
        self.blocks = vit.blocks(shape, post_norm=True)
        self.norm = nn.LayerNorm(dim)

    def features(self, waveform: Tensor) -> Tensor:
        rms = waveform.square().mean(1, keepdim=True).sqrt()
        levelled = torch.where(rms > 0, waveform * (LEVEL / rms.clamp(min=1e-30)), waveform)
        missing = -waveform.shape[1] % self.segment_samples
        segments = functional.pad(levelled, (0, missing)).unflatten(1, (-1, self.segment_samples))
        centred = segments - segments.mean(2, keepdim=True)
        out: Tensor = centred / (segments.std(2, keepdim=True) + 1e-5)
        return out

    def encode(self, features: Tensor, n_samples: int | None = None) -> Encoded:
        """n_samples: without the zeros that fill the last segment."""
        n_segments = features.shape[1]
        heard = self.convs(features.flatten(0, 1))
        x = self.post_extraction_mapper(self.feature_norms(heard)) + self.pos_encoding_encoder
        n_real = n_segments * self.n_frames - self._n_padded(features, n_samples)
        real = torch.arange(n_segments * self.n_frames, device=x.device) < n_real
        bias = torch.zeros(real.shape, dtype=x.dtype, device=x.device)
        bias = bias.masked_fill(~real, -torch.inf).unflatten(0, (n_segments, -1))
        bias = bias.repeat(len(features), 1)[:, None, None]  # [B * segments, 1, 1, frames]
        states = vit.run(self.blocks, x, bias if n_real < len(real) else None)
        hidden = tuple(self._joined(state, n_segments)[:, :n_real] for state in states)
        return Encoded(
            hidden,
            self.norm(hidden[-1]),
            others=lambda: {"conv_features": self._joined(heard, n_segments)},
        )

    def forward(self, waveform: Tensor) -> Encoded:
        return self.encode(self.exact_features(waveform), waveform.shape[1])

    def frames(self, index: int, hidden: Tensor) -> Tensor:
        """Between segments, where a convolution would cross, the last frame stands once more:
        so all frames keep their distance."""
        width = self.n_frames + self.n_between
        n_whole, rest = divmod(hidden.shape[1], self.n_frames)
        places = torch.arange(n_whole * width + rest, device=hidden.device)
        within = (places % width).clamp(max=self.n_frames - 1)
        return hidden[:, places // width * self.n_frames + within]

    def timing(self, index: int) -> Timing:
        return self.convs.timing(self.sample_rate_hz)

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        features = self.features(golden["waveform"])
        given = golden.get("features", features)
        encoded = self.encode(given, golden["waveform"].shape[1])
        return {"features": features, **named_arrays(encoded)}

    def _n_padded(self, features: Tensor, n_samples: int | None) -> int:
        """Frames that the authors cut off at the end, by their arithmetic."""
        if n_samples is None:
            return 0
        missing = features.shape[1] * self.segment_samples - n_samples
        return int(missing / self.sample_rate_hz * int(self.n_frames / self.segment_s))

    def _joined(self, state: Tensor, n_segments: int) -> Tensor:
        """[B * segments, frames, D] -> [B, segments * frames, D]."""
        out: Tensor = state.unflatten(0, (-1, n_segments)).flatten(1, 2)
        return out


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    known: dict[str, Any] = {}
    sizes = vit.sizes(state)
    if sizes:
        dim = sizes["embed_dim"]
        known = {"d_model": dim, "num_layers": sizes["depth"]}
        known |= {"dim_feedforward": dim * sizes["mlp_ratio"], "nhead": dim // vit.HEAD_DIM}
    return known


SYSTEM = System(
    card=Card(
        title="WavJEPA",
        paper="Yuksel et al. 2025, WavJEPA: Semantic learning for raw audio",
        code_licence="BSD-3-Clause",
        weights_licence="see the Hugging Face card",
        checkpoints=("labhamlet/wavjepa-base",),
        sizes={
            "base": {},
            "large": {"d_model": 1024, "nhead": 16, "num_layers": 24, "dim_feedforward": 4096},
        },
    ),
    build=WavJepa,
    defaults={
        "conv_layers_spec": ((512, 10, 5), *((512, 3, 2),) * 4, (512, 2, 2)),
        "d_model": 768,
        "nhead": 12,
        "num_layers": 12,
        "dim_feedforward": 3072,
        "layer_norm_eps": 1e-6,
        "process_audio_seconds": 2.01,
    },
    infer=_infer,
    anchor="extract_audio.cnn.0.0.weight",
    keys=(
        ("_orig_mod", ""),
        ("extract_audio.cnn", "convs.conv_layers"),
        ("encoder.layers", "blocks"),
        ("encoder.norm", "norm"),
        ("self_attn.in_proj_weight", "attn.qkv.weight"),
        ("self_attn.in_proj_bias", "attn.qkv.bias"),
        ("self_attn.out_proj", "attn.proj"),
        ("linear1", "mlp.fc1"),
        ("linear2", "mlp.fc2"),
    ),
    ignored=("teacher_encoder", "decoder", "encoder_to_decoder", "pos_encoding_decoder", "mask_"),
)
