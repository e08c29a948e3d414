"""Streaming log-mel: the one Python front end, used for listening and for training alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import FrontendSpec, ModelSpec
from edge_audio.support.arrays import FloatArray, in_range

Transform = Callable[[FloatArray], FloatArray]

BLOCK_FRAMES = 64  # computed at once: measured fastest, larger arrays leave the CPU's cache


def hz_to_mel(hz: NDArray[np.floating]) -> NDArray[np.float64]:
    """HTK mel scale: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)


@lru_cache(maxsize=8)
def mel_weights(spec: FrontendSpec) -> FloatArray:
    """Triangular filters [fft_size / 2 + 1, n_mels], peak 1, straight on the mel axis."""
    bin_hz = np.fft.rfftfreq(spec.fft_size, 1.0 / spec.sample_rate_hz)
    low, high = hz_to_mel(np.array([spec.min_hz, spec.max_hz]))
    edges = np.linspace(low, high, spec.n_mels + 2)
    mels = hz_to_mel(bin_hz)[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    weights: FloatArray = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return weights


@lru_cache(maxsize=8)
def hann_window(window_samples: int) -> FloatArray:
    """Periodic Hann window [window_samples]."""
    phase = 2.0 * np.pi * np.arange(window_samples) / window_samples
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


def n_frames(spec: FrontendSpec, n_samples: int) -> int:
    """How many whole frames fit into n_samples."""
    return max(0, 1 + (n_samples - spec.window_samples) // spec.hop_samples)


def _overlapping_frames(spec: FrontendSpec, samples: FloatArray) -> FloatArray:
    """Read-only view [n_frames, window_samples] of contiguous samples (numpy's own
    sliding_window_view costs as much as the FFT at these sizes)."""
    shape = (n_frames(spec, len(samples)), spec.window_samples)
    strides = (spec.hop_samples * samples.itemsize, samples.itemsize)
    windows: FloatArray = np.ndarray(
        shape, samples.dtype, np.ascontiguousarray(samples), 0, strides
    )
    return windows


def _mel_power(power: FloatArray, weights: FloatArray) -> FloatArray:
    """power[k, n_bins] @ weights, always in products of 8 rows (and one of the rest): BLAS
    rounds by shape, so this keeps the bits of whole groups of 8 frames free of the chunking."""
    n_grouped = len(power) - len(power) % 8
    grouped = power[:n_grouped].reshape(-1, 8, power.shape[1]) @ weights
    mels = grouped.reshape(n_grouped, weights.shape[1])
    if n_grouped == len(power):
        return mels
    return np.concatenate([mels, power[n_grouped:] @ weights])


class _LogMel:
    """Computes frames in buffers of its own, which is quicker than in fresh ones."""

    def __init__(self, spec: FrontendSpec) -> None:
        self.spec = spec
        # Only with norm="forward" does numpy 2 transform float32 in float32, a quarter quicker
        # (frames change by 2e-7); its factor 1 / fft_size is undone here.
        self._window = hann_window(spec.window_samples) * np.float32(spec.fft_size)
        self._weights = mel_weights(spec)
        self._windowed = np.zeros((BLOCK_FRAMES, spec.fft_size), np.float32)
        self._power = np.empty((BLOCK_FRAMES, spec.fft_size // 2 + 1), np.float32)
        self._log_floor = np.float32(spec.log_floor)
        self._log_mean = np.float32(spec.log_mean)
        self._log_gain = np.float32(1.0 / spec.log_scale)

    def __call__(self, samples: FloatArray) -> FloatArray:
        """f32[n] -> f32[n_frames(n), n_mels], normalised."""
        frames = _overlapping_frames(self.spec, samples)
        if len(frames) <= BLOCK_FRAMES:
            return self._block(frames)
        starts = range(0, len(frames), BLOCK_FRAMES)
        return np.concatenate([self._block(frames[i : i + BLOCK_FRAMES]) for i in starts])

    def _block(self, frames: FloatArray) -> FloatArray:
        """Frames [k, window_samples] -> [k, n_mels] with k <= BLOCK_FRAMES."""
        windowed = self._windowed[: len(frames)]
        np.multiply(frames, self._window, out=windowed[:, : self.spec.window_samples])
        spectrum = np.fft.rfft(windowed, norm="forward")
        power = np.abs(spectrum, out=self._power[: len(frames)], casting="same_kind")
        np.square(power, out=power)
        mels = _mel_power(power, self._weights)
        mels += self._log_floor
        np.log(mels, out=mels)
        mels -= self._log_mean
        mels *= self._log_gain
        return mels


def log_mel(spec: FrontendSpec, samples: FloatArray) -> FloatArray:
    """Offline reference: f32[n] in [-1, 1] -> f32[n_frames(n), n_mels], normalised."""
    return _LogMel(spec)(samples)


class Frontend:
    """Streaming twin of `log_mel`: same frames for any chunking of the same samples."""

    def __init__(self, spec: FrontendSpec, transform: Transform | None = None) -> None:
        """transform: computes all frames of f32[n] instead of numpy."""
        self.spec = spec
        self._log_mel = transform or _LogMel(spec)
        self.reset()

    def reset(self) -> None:
        """Forgets all samples: the next push starts a new stream."""
        self._pending = np.zeros(0, np.float32)
        self._n_heard = 0  # of the pending samples: already within an earlier frame

    def push(self, samples: FloatArray) -> FloatArray:
        """f32[n >= 0] in [-1, 1] -> f32[k >= 0, n_mels]: the frames these samples complete.

        NaN becomes 0 and values beyond [-1, 1] (infinities too) are clipped.
        """
        self._pending = np.concatenate([self._pending, in_range(samples)])
        frames = self._log_mel(self._pending)
        if len(frames):
            self._pending = self._pending[len(frames) * self.spec.hop_samples :]
            self._n_heard = self.spec.overlap_samples
        return frames

    def flush(self) -> FloatArray:
        """Pads the tail with zeros to its last frame, returns that frame if any new sample
        awaits one (f32[0 or more, n_mels]), and resets."""
        n_pending = len(self._pending)
        frames = np.zeros((0, self.spec.n_mels), np.float32)
        if n_pending > self._n_heard:
            frames = self.push(np.zeros(self.spec.window_samples - n_pending, np.float32))
        self.reset()
        return frames


class NoFrontend:
    """Stands in where the front end is part of the model, which is fed samples."""

    def reset(self) -> None:
        """Does nothing: no samples are kept."""

    def push(self, samples: FloatArray) -> FloatArray:
        """f32[n] -> the same within [-1, 1], NaN as 0."""
        return in_range(samples)


def open_frontend(model: ModelSpec, transform: Transform | None = None) -> Frontend | NoFrontend:
    """What turns samples into the rows that the model's steps are cut from."""
    return NoFrontend() if model.input == "samples" else Frontend(model.frontend, transform)
