"""Formats of raw samples."""

from __future__ import annotations

import math

import numpy as np

from edge_audio.support.arrays import FloatArray

# name -> (dtype of the stored sample, value of full scale); s24le has no dtype of its own.
_SAMPLE_TYPES: dict[str, tuple[str, float]] = {
    "u8": ("u1", 2.0**7),
    "s16le": ("<i2", 2.0**15),
    "s16be": (">i2", 2.0**15),
    "s24le": ("<i4", 2.0**31),
    "s32le": ("<i4", 2.0**31),
    "f32le": ("<f4", 1.0),
}
SAMPLE_FORMATS = tuple(_SAMPLE_TYPES)
_WINDOW_SAMPLES = 1_024
_MAX_LOUD_SHARE = 0.01  # of samples: more of them beyond full scale are no clicks


def decode_pcm(data: bytes, sample_format: str) -> FloatArray:
    """Whole samples of raw PCM -> f32[n] with full scale at 1.0."""
    dtype, full_scale = _SAMPLE_TYPES[sample_format]
    if sample_format == "s24le":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data = padded.tobytes()  # the 24 bits become the upper ones of 32
    samples = np.frombuffer(data, dtype).astype(np.float32)
    if sample_format == "u8":
        samples -= 128.0
    with np.errstate(invalid="ignore"):  # a signalling NaN among floats becomes a quiet one
        scaled: FloatArray = samples / np.float32(full_scale)
    return scaled


def sample_bytes(sample_format: str) -> int:
    """Size of one sample."""
    return 3 if sample_format == "s24le" else int(_SAMPLE_TYPES[sample_format][0][-1])


class FullScale:
    """Scales floats of which many are beyond full scale down by a power of two, from the window
    after the one that shows it; any chunking gives the same samples."""

    def __init__(self) -> None:
        self._scale = np.float32(1.0)
        self._window: list[FloatArray] = []
        self._n_in_window = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """f32[n] -> f32[n]."""
        scaled = [np.zeros(0, np.float32)]
        while len(samples):
            part = samples[: _WINDOW_SAMPLES - self._n_in_window]
            samples = samples[len(part) :]
            scaled.append(part * self._scale)
            self._window.append(part)
            self._n_in_window += len(part)
            if self._n_in_window == _WINDOW_SAMPLES:
                self._choose()
        return np.concatenate(scaled)

    def _choose(self) -> None:
        window = np.concatenate(self._window)
        self._window, self._n_in_window = [], 0
        loudness = np.abs(window[np.isfinite(window)]) * self._scale
        if np.count_nonzero(loudness > 1.0) > _MAX_LOUD_SHARE * loudness.size:
            typical = float(np.quantile(loudness, 1.0 - _MAX_LOUD_SHARE))
            self._scale *= np.float32(2.0 ** -math.ceil(math.log2(max(typical, 1.0))))
