"""Log-mel images as convolutional networks and Swin transformers see them: [B, 1, T, F]."""

from __future__ import annotations

from torch import Tensor, nn

from distill.teachers.bricks.mel import StftBank, decibels, hertz_triangles

EXTRACTORS = (r"spectrogram_extractor\.", r"logmel_extractor\.")
"""Keys of torchlibrosa's constants."""

MAX_BANDS = 4
"""Frequency resolution that a student is asked to regress."""


class LibrosaMel(nn.Module):
    """torchlibrosa's log-mel: waveform [B, n] -> decibels [B, 1, 1 + n // hop, n_mels]."""

    def __init__(
        self,
        rate_hz: int,
        fft_size: int,
        hop_samples: int,
        n_mels: int,
        min_hz: float,
        max_hz: float,
    ) -> None:
        super().__init__()
        triangles = hertz_triangles(rate_hz, fft_size, n_mels, min_hz, max_hz, slaney=True)
        self.bank = StftBank(triangles, fft_size, hop_samples)

    def forward(self, waveform: Tensor) -> Tensor:
        return decibels(self.bank(waveform)).transpose(1, 2)[:, None]


def normed_bands(norm: nn.BatchNorm1d, image: Tensor) -> Tensor:
    """[B, 1, T, F] through a norm whose channels are the bands. Authors have a BatchNorm2d of
    [B, F, T, 1], the same but for torch's gradient (2.13, CPU), which lands on other frames."""
    out: Tensor = norm(image[:, 0].transpose(1, 2)).transpose(1, 2)[:, None]
    return out


def band_frames(maps: Tensor) -> Tensor:
    """[B, C, T, F] -> [B, T, C * bands], averaged over frequency down to at most 4 bands."""
    n_bands = next(n for n in range(min(MAX_BANDS, maps.shape[3]), 0, -1) if not maps.shape[3] % n)
    pooled = maps.unflatten(3, (n_bands, -1)).mean(4)  # [B, C, T, bands]
    out: Tensor = pooled.transpose(1, 2).flatten(2)
    return out
