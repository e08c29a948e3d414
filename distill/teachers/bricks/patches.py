"""Patches of a spectrogram: how they lie in time, and what is made of them."""

from __future__ import annotations

from torch import Tensor

from distill.teachers.base import Timing


def kaldi_timing(patch_frames: int, stride_frames: int) -> Timing:
    """Of patches over windows of 25 ms that begin at whole hops of 10 ms: a column is centred on
    the middle of its windows."""
    return Timing(stride_frames * 0.01, (patch_frames - 1) / 2 * 0.01 + 0.0125)


def centred_timing(patch_frames: int, stride_frames: int, hop_s: float = 0.01) -> Timing:
    """Of patches over frames that are centred on whole hops."""
    return Timing(stride_frames * hop_s, (patch_frames - 1) / 2 * hop_s)


def time_major(x: Tensor) -> Tensor:
    """Maps [B, D, T, F] or [B, D, T, F] of a transposed image -> tokens [B, T * F, D]."""
    return x.flatten(2).transpose(1, 2)


def band_mean(tokens: Tensor, n_bands: int, frequency_major: bool = False) -> Tensor:
    """Tokens [B, N, D] of n_bands bands each -> [B, T, D], the mean over the bands of a time."""
    shape, bands = ((n_bands, -1), 1) if frequency_major else ((-1, n_bands), 2)
    out: Tensor = tokens.unflatten(1, shape).mean(bands)
    return out
