"""Audio of clips: decoded, mono, at one rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from distill.data.tars import exists, open_audio
from edge_audio.errors import SourceError
from edge_audio.sources.decoders import ForwardFile

_READ_FRAMES = 1 << 20  # at once: most clips whole
_MAX_CLIP_S = 86_400.0  # what is longer is a length that nobody knew


def read_clip(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """A whole file, or member of a tar, as mono f32[n > 0] at `sample_rate_hz`.

    Raises SourceError if it cannot be decoded or holds no finite samples.
    """
    try:
        with ForwardFile(open_audio(path)) as file:
            samples, rate_hz = _frames(file), file.samplerate
    except (OSError, sf.LibsndfileError) as error:
        raise undecodable(path, error) from error
    if not len(samples) or not np.isfinite(samples).all():
        raise SourceError(f"{path} holds {'NaN or infinite' if len(samples) else 'no'} samples")
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if rate_hz == sample_rate_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, sample_rate_hz), np.float32)


def length_of(path: Path) -> tuple[int, int]:
    """(frames, Hz), by the header where it states a length that a clip may have; else by decoding,
    as of FLAC that was piped. Raises SourceError as `read_clip`."""
    try:
        with ForwardFile(open_audio(path)) as file:
            rate_hz, n_frames = file.samplerate, file.frames
            if n_frames > _MAX_CLIP_S * rate_hz:
                n_frames = len(_frames(file))
    except (OSError, sf.LibsndfileError) as error:
        raise undecodable(path, error) from error
    return n_frames, rate_hz


def _frames(file: ForwardFile) -> NDArray[np.float32]:
    """f32[n, n_channels], all that there is, whatever length the header claims."""
    parts = [np.zeros((0, file.channels), np.float32)]
    while len(part := file.read(_READ_FRAMES, dtype="float32", always_2d=True)):
        parts.append(part)
    return np.concatenate(parts)


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
