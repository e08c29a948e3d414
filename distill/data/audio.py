"""Audio of clips: decoded, mono, at one rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from distill.data.tars import exists, open_audio
from edge_audio.errors import SourceError


def read_clip(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """A whole file, or member of a tar, as mono f32[n > 0] at `sample_rate_hz`.

    Raises SourceError if it cannot be decoded or holds no finite samples.
    """
    try:
        samples, rate_hz = sf.read(open_audio(path), dtype="float32", always_2d=True)
    except (OSError, sf.LibsndfileError) as error:
        raise undecodable(path, error) from error
    if not len(samples) or not np.isfinite(samples).all():
        raise SourceError(f"{path} holds {'NaN or infinite' if len(samples) else 'no'} samples")
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if rate_hz == sample_rate_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, sample_rate_hz), np.float32)


def undecodable(path: Path, error: Exception) -> SourceError:
    """What to raise when soundfile fails: its own message names neither tars nor absence."""
    reason = getattr(error, "error_string", error) if exists(path) else "no such file"
    return SourceError(f"cannot decode {path}: {reason}")


def read_pcm(path: Path, sample_rate_hz: int) -> NDArray[np.int16]:
    """`read_clip` in 16 bits, as decoded clips are kept."""
    return (np.clip(read_clip(path, sample_rate_hz), -1.0, 1.0) * 32767.0).astype(np.int16)


def from_pcm(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """f32[n] in [-1, 1)."""
    return np.divide(pcm, 32768.0, dtype=np.float32)
