"""LEAF (Zeghidour et al. 2021): learned Gabor filters, Gaussian pooling and PCEN in the place of a
log-mel. The keys are those of leaf-pytorch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_FLOOR = 1e-5
_PCEN_FLOOR = 1e-12


class LeafOutput(NamedTuple):
    """responses [B, 2 N, T], real and imaginary in turn, and their powers [B, N, T], at every hop;
    pooled; its smoothed course; and the features [B, N, T]."""

    responses: Tensor
    powers: Tensor
    pooled: Tensor
    smoothed: Tensor
    features: Tensor


class Leaf(nn.Module):
    """[B, n] -> LeafOutput; frame t is centred on sample t * hop. Parameters are limited where they
    are used: stored values may lie outside."""

    def __init__(self, n_filters: int = 40, window: int = 401, hop_samples: int = 160) -> None:
        super().__init__()
        self.window, self.hop_samples = window, hop_samples
        self._complex_conv = nn.ParameterDict({"_kernel": torch.ones(n_filters, 2)})
        self._pooling = nn.ParameterDict(
            {"weights": torch.full((1, 1, n_filters, 1), 0.4), "_bias": torch.ones(n_filters)}
        )
        self._compression = _Pcen(n_filters)

    def forward(self, waveform: Tensor) -> LeafOutput:
        before = self.window // 2 + self.window % 2 - 1
        padded = functional.pad(waveform, (before, self.window // 2))
        responses = correlate(padded, self._gabor())
        powers = responses.square().unflatten(1, (-1, 2)).sum(2)
        kernel, bias = self._gaussian(), self._pooling["_bias"]
        summed = functional.pad(powers, (before, self.window // 2))
        n_filters = len(bias)
        pooled = functional.conv1d(summed, kernel, bias, self.hop_samples, groups=n_filters)
        pooled = pooled.clamp(min=_FLOOR)
        smoothed, features = self._compression(pooled)
        hop = self.hop_samples
        return LeafOutput(responses[..., ::hop], powers[..., ::hop], pooled, smoothed, features)

    def _gabor(self) -> Tensor:
        """[2 N, window]."""
        unit = math.sqrt(2.0 * math.log(2.0)) / math.pi
        kernel = self._complex_conv["_kernel"]
        centre = kernel[:, :1].clamp(0.0, math.pi)
        width = kernel[:, 1:].clamp(4.0 * unit, self.window * unit)
        half = self.window // 2
        t = torch.arange(-half, self.window - half, dtype=kernel.dtype, device=kernel.device)
        envelope = (-t.square() / (2.0 * width.square())).exp() / (math.sqrt(2.0 * math.pi) * width)
        both = torch.stack([(centre * t).cos(), (centre * t).sin()], 1)
        filters: Tensor = (envelope[:, None] * both).flatten(0, 1)
        return filters

    def _gaussian(self) -> Tensor:
        """[N, 1, window], not of unit sum."""
        width = self._pooling["weights"].clamp(2.0 / self.window, 0.5).reshape(-1, 1)
        half = (self.window - 1) / 2
        t = torch.arange(self.window, dtype=width.dtype, device=width.device) - half
        kernel: Tensor = (-0.5 * (t / (width * half)).square()).exp()
        return kernel[:, None]


def correlate(samples: Tensor, filters: Tensor) -> Tensor:
    """[B, n] with each of [C, w] -> [B, C, n - w + 1], as an unpadded convolution layer does it,
    by way of the spectrum: at every sample, hundreds of taps are dear."""
    size = 1 << (samples.shape[1] - 1).bit_length()
    spectrum = torch.fft.rfft(samples, size)[:, None] * torch.fft.rfft(filters, size).conj()
    out: Tensor = torch.fft.irfft(spectrum, size)
    return out[..., : samples.shape[1] - filters.shape[1] + 1]


class _Pcen(nn.Module):
    """Per-channel energy normalisation (Wang et al. 2017)."""

    def __init__(self, n_filters: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((n_filters,), 0.96))
        self.delta = nn.Parameter(torch.full((n_filters,), 2.0))
        self.root = nn.Parameter(torch.full((n_filters,), 2.0))
        self.ema = nn.ParameterDict({"_weights": torch.full((n_filters,), 0.04)})

    def forward(self, powers: Tensor) -> tuple[Tensor, Tensor]:
        """The smoothed course and the normalised powers, both [B, N, T]."""
        weight = self.ema["_weights"].clamp(0.0, 1.0)
        course = [powers[..., 0]]
        for power in powers.unbind(2)[1:]:
            course.append(weight * power + (1.0 - weight) * course[-1])
        smoothed = torch.stack(course, 2)
        alpha, root = self.alpha.clamp(max=1.0)[:, None], self.root.clamp(min=1.0)[:, None]
        delta = self.delta[:, None]
        ratio = powers / (_PCEN_FLOOR + smoothed).pow(alpha) + delta
        return smoothed, ratio.pow(1.0 / root) - delta.pow(1.0 / root)
