"""MR-HuBERT (Shi et al. 2024): HuBERT's encoders at several rates, down to the coarsest one and
up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.base import Timing
from distill.teachers.bricks import waveform_model
from distill.teachers.published.network import Encoded, Golden, recorded
from distill.teachers.published.system import Architecture, Card, State, System

_SCALE = 0.4**0.5


class RateChanger(nn.Module):
    """[B, T, D] -> [B, about T * up / down, D]: convolutions beside plain repetition."""

    def __init__(self, dim: int, kernel: int, up: int, down: int) -> None:
        super().__init__()
        self.up, self.down = up, down
        wider = nn.ConvTranspose1d(dim, dim, kernel, up, output_padding=up - 1, bias=False)
        narrower = nn.Conv1d(dim, dim, kernel, down, padding=(kernel - 1) // 2, bias=False)
        self.upsample_conv = nn.ModuleDict({"0": wider, "2": nn.GroupNorm(1, dim)})
        self.downsample_conv = nn.ModuleDict({"0": narrower, "2": nn.GroupNorm(1, dim)})

    def forward(self, x: Tensor) -> Tensor:
        plain = x.transpose(1, 2).repeat_interleave(self.up, 2)
        wide = _convolve(self.upsample_conv, x.transpose(1, 2))
        y = (wide[..., : plain.shape[2]] + plain) * _SCALE
        z = _sum(_convolve(self.downsample_conv, y), y[..., :: self.down]) * _SCALE
        return (_sum(z, plain[..., :: self.down]) * _SCALE).transpose(1, 2)


def _convolve(parts: nn.ModuleDict, x: Tensor) -> Tensor:
    """One norm over channels and time, before anything is cut."""
    return functional.gelu(parts["2"](parts["0"](x)))


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Of two [B, D, T], over the shorter time."""
    n_frames = min(a.shape[2], b.shape[2])
    return a[..., :n_frames] + b[..., :n_frames]


class MRHubert(waveform_model.WaveformModel):
    """hidden: the outputs per resolution, coarsest first; the finest is the output.

    Upsamplers are used in the order in which they are stored, as the authors do, though
    residuals are taken in reverse: with unequal ratios the rate does not return to the first.
    """

    def __init__(self, cfg: Architecture) -> None:
        dim, kernel = cfg["encoder_embed_dim"], cfg["conv_adapator_kernal"]
        super().__init__(cfg, dim)
        ratios = cfg["label_rate_ratios"]
        self.pairs = list(zip(ratios[::2], ratios[1::2], strict=True))
        n = len(self.pairs)
        counts = _layer_counts(cfg, 2 * n + 1)
        self.encoders = nn.ModuleList(
            waveform_model.encoder(cfg, counts[i], i == 0) for i in range(n)
        )
        self.middle_encoder = waveform_model.encoder(cfg, counts[n], False)
        self.decoders = nn.ModuleList(
            waveform_model.encoder(cfg, counts[2 * n - i], False) for i in range(n)
        )
        down = (RateChanger(dim, kernel, u, d) for u, d in self.pairs)
        up = (RateChanger(dim, kernel, d, u) for u, d in self.pairs)
        self.downsample_modules, self.upsample_modules = nn.ModuleList(down), nn.ModuleList(up)

    def encode(self, features: Tensor) -> Encoded:
        projected = x = self.post_extract_proj(features)
        kept = []
        for encoder, down in zip(self.encoders, self.downsample_modules, strict=True):
            kept.append(encoder(x).output)
            x = down(kept[-1])
        hidden = [x + self.middle_encoder(x).output]
        ways = zip(self.upsample_modules, self.decoders, reversed(kept), strict=True)
        for up, decoder, finer in ways:
            x = decoder(up(hidden[-1])).output
            hidden.append(_sum(x.transpose(1, 2), finer.transpose(1, 2)).transpose(1, 2))
        return Encoded(tuple(hidden), hidden[-1], others=lambda: {"conv_projected": projected})

    def _stages(self) -> Iterator[tuple[str, nn.Module]]:
        """Names in parity files, in the order of their calls."""
        pairs = zip(self.encoders, self.downsample_modules, strict=True)
        for i, (encoder, down) in enumerate(pairs):
            yield from ((f"stage_encoder{i}", encoder), (f"stage_down{i}", down))
        yield "stage_middle", self.middle_encoder
        pairs = zip(self.upsample_modules, self.decoders, strict=True)
        for i, (up, decoder) in enumerate(pairs):
            yield from ((f"stage_up{i}", up), (f"stage_decoder{i}", decoder))

    def recompute(self, golden: Golden) -> dict[str, Tensor]:
        """Goldens of single layers have a frame of padding at the end, which says nothing."""
        names, modules = zip(*self._stages(), strict=True)
        with recorded(modules) as outputs:
            made = super().recompute(golden)
        for name, output in zip(names, outputs, strict=True):
            if isinstance(output, Tensor):
                made[name] = output
                continue
            made[name] = output.output
            for i, layer in enumerate(output.hidden[1:]):
                rest = golden.get(f"{name}_layer{i}", layer)[:, layer.shape[1] :]
                made[f"{name}_layer{i}"] = torch.cat([layer, rest], 1)
        return made

    def timing(self, index: int) -> Timing:
        """A frame of a coarser rate is centred on the finer ones that it replaces."""
        finest = super().timing(index)
        ratio = 1.0
        n = len(self.pairs)
        for up, down in self.pairs:
            ratio *= down / up
        for up, down in self.pairs[:index]:  # in their stored order, from the coarsest on
            ratio *= up / down
        assert 0 <= index <= n
        hop_s = finest.hop_s * ratio
        return Timing(hop_s, finest.offset_s + (hop_s - finest.hop_s) / 2)


def _layer_counts(cfg: Architecture, n_encoders: int) -> list[int]:
    text = cfg["override_encoder_layers"].strip("[]")
    return [int(n) for n in text.split(",")] if text else [cfg["encoder_layers"]] * n_encoders


def _infer(state: State, config: Mapping[str, Any]) -> Architecture:
    return waveform_model.infer(state, config) if config else {}


SYSTEM = System(
    card=Card(
        title="MR-HuBERT",
        paper="Shi et al. 2024, Multi-resolution HuBERT: Multi-resolution Speech Self-Supervised "
        "Learning with Masked Unit Prediction",
        code_licence="MIT (fairseq)",
        weights_licence="not stated here",
        checkpoints=("mrhubert_mono_base.pt", "mrhubert_mono_large.pt", "multi_base.pt"),
        sizes={
            "mono base": {},
            "mono large": {**waveform_model.LARGE, "override_encoder_layers": "[8,8,8]"},
        },
    ),
    build=MRHubert,
    defaults={
        **waveform_model.DEFAULTS,
        "label_rate_ratios": [1, 2],
        "override_encoder_layers": "[4,4,4]",
        "conv_adapator_kernal": 1,
    },
    infer=_infer,
    anchor="feature_extractor.conv_layers.0.0.weight",
    ignored=waveform_model.PRETRAINING,
    entries=("model_weight", "model", "state_dict"),
)
