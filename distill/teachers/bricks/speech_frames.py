"""Frames of a log-mel as s3prl's models hear them, before the clip's statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.teachers.bricks.mel import KaldiBank, StftBank, hertz_triangles

FFT_SIZE, HOP_SAMPLES, N_MELS = 400, 160, 80
N_DELTAS = 2


class MelFrames(nn.Module):
    """Waveform [B, n] -> ln of mel bands [B, 1 + n // 160, 80] of clips at one level."""

    def __init__(self, level_db: float) -> None:
        super().__init__()
        self.level_rms = 10.0 ** (level_db / 20.0)
        triangles = hertz_triangles(16_000, FFT_SIZE, N_MELS, 0.0, 8_000.0)
        self.bank = StftBank(triangles, FFT_SIZE, HOP_SAMPLES)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """lengths [B]: samples of each row that are sound, the rest being zeros."""
        n_samples = waveform.shape[1] if lengths is None else lengths[:, None]
        rms = (waveform.square().sum(1, keepdim=True) / n_samples).sqrt()
        out: Tensor = (
            (self.bank(waveform * self.level_rms / (rms + 1e-10)) + 1e-10).log().transpose(1, 2)
        )
        return out


class KaldiFrames(nn.Module):
    """Waveform [B, n] -> kaldi's bands with their first and second deltas [B, T, 240]."""

    def __init__(self) -> None:
        super().__init__()
        self.bank = KaldiBank(N_MELS, window="povey")

    def forward(self, waveform: Tensor) -> Tensor:
        parts = [self.bank(waveform)]
        for _ in range(N_DELTAS):
            parts.append(_deltas(parts[-1]))
        return torch.cat(parts, 2)


def _deltas(frames: Tensor) -> Tensor:
    """Slopes over five frames, the ends repeated."""
    padded = functional.pad(frames.transpose(1, 2), (2, 2), mode="replicate").transpose(1, 2)
    slopes = padded.unfold(1, 5, 1) * torch.arange(-2.0, 3.0, device=frames.device)
    return slopes.sum(3) / 10.0
