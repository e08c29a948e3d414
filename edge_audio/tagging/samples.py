"""What programs push, checked and brought to mono samples at the model's rate."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import MAX_RATE_HZ
from edge_audio.errors import UsageError
from edge_audio.sources.resample import StreamResampler
from edge_audio.support.arrays import is_number

MIN_RATE_HZ = 1_000
MAX_CHANNELS = 64  # more columns than that are samples, not channels

_MIN_TELLING_SAMPLES, _MAX_TELLING_SAMPLES = 100, 1_600  # of one push
_PROVING_SAMPLES = 160_000  # so many of a stream that are within full scale and no integers
_PROVING_POWERS = 1e-6, 0.25  # mean squares of -60 and -6 dB: neither silence nor rounding
_BEYOND_FULL_SCALE = 1.5
_SCALE_HINT = (
    "samples are floats on the scale of int16 and are clipped to -1 to 1: divide them by 32768, or "
    "pass them as int16"
)
_DTYPES = (np.dtype(np.float32), np.dtype(np.int16), np.dtype(np.float64))  # most usual first
_RAW = (bytes, bytearray, memoryview)


class SampleInput:
    """Takes the samples of one stream: mono at the model's rate or, where a rate is named, of any
    rate and number of channels. It holds back the newest 40 ms then, see `StreamResampler`."""

    _is_scale_told = False  # that samples are not within -1 and 1

    def __init__(self, model_rate_hz: int, rate_hz: int | None = None) -> None:
        """Raises UsageError for a rate out of range."""
        self._model_rate_hz = model_rate_hz
        self.rate_hz = model_rate_hz if rate_hz is None else checked_rate(rate_hz)
        self._takes_channels = rate_hz is not None
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._n_unproved = _PROVING_SAMPLES  # until the scale of floats is sure
        self._resampler = None
        if self._takes_channels:
            self._resampler = StreamResampler(self.rate_hz, self._model_rate_hz)

    def checked(self, pcm: NDArray[Any]) -> NDArray[Any]:
        """int16, float32 or float64 [n], or [n, n_channels]. Warns once of floats that are plainly
        on the scale of int16. Raises UsageError for anything else."""
        pcm = _numbers(pcm, self._takes_channels)
        is_sure = self._is_scale_told or self._n_unproved <= 0
        if not (is_sure or pcm.dtype == np.int16 or len(pcm) < _MIN_TELLING_SAMPLES):
            self._check_scale(pcm[:_MAX_TELLING_SAMPLES])
        return pcm

    def _check_scale(self, floats: NDArray[Any]) -> None:
        power = np.vdot(floats, floats) / floats.size
        if power > 1.0 and _looks_like_int16(floats):
            self._is_scale_told = True
            warnings.warn(_SCALE_HINT, stacklevel=4)
        elif _PROVING_POWERS[0] < power < _PROVING_POWERS[1] and (floats != np.rint(floats)).any():
            self._n_unproved -= floats.size

    def take(self, pcm: NDArray[Any]) -> NDArray[np.float32]:
        """Of what `checked` gave -> f32[m >= 0] that are ready."""
        samples = _to_float32(pcm)
        return samples if self._resampler is None else self._resampler.push(samples)

    def flush(self) -> NDArray[np.float32]:
        """f32[m >= 0] that were held back."""
        return np.zeros(0, np.float32) if self._resampler is None else self._resampler.flush()


def checked_rate(rate_hz: Any) -> int:
    """Samples a second. Raises UsageError for what is none."""
    if not is_number(rate_hz):
        raise UsageError(f"rate_hz is {rate_hz!r}: give samples a second, such as 44100")
    if not float(rate_hz).is_integer():
        raise UsageError(f"rate_hz is {rate_hz}: give whole samples a second, such as 44100")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise UsageError(f"rate_hz is {rate_hz}: give one from {MIN_RATE_HZ} to {MAX_RATE_HZ}")
    return int(rate_hz)


def as_array(pcm: Any) -> NDArray[Any]:
    """Raises UsageError for bytes, and for what is no array."""
    if isinstance(pcm, _RAW):
        raise UsageError(
            "samples are bytes: say what is in them, e.g. np.frombuffer(samples, np.int16)"
        )
    try:
        return np.asarray(pcm)
    except ValueError as error:  # lists of different lengths
        raise UsageError(f"samples are no array of numbers: {error}") from error


def _numbers(pcm: NDArray[Any], takes_channels: bool) -> NDArray[Any]:
    pcm = as_array(pcm)
    if takes_channels:
        _check_channels(pcm)
    else:
        _check_mono(pcm)
    if pcm.dtype not in _DTYPES:
        raise UsageError(
            f"samples are {pcm.dtype}: pass int16, or float32 scaled to the range -1 to 1"
        )
    return pcm


def _check_mono(pcm: NDArray[Any]) -> None:
    if pcm.ndim == 2:
        axis = 0 if pcm.shape[0] < pcm.shape[1] else 1  # the shorter is that of the channels
        raise UsageError(
            f"samples have shape {pcm.shape}: pass one channel, e.g. samples.mean(axis={axis}), or "
            "open the tagger with their rate_hz, so that it mixes them"
        )
    if pcm.ndim != 1:
        raise UsageError(f"samples have shape {pcm.shape}: pass one channel, of shape (n,)")


def _check_channels(pcm: NDArray[Any]) -> None:
    if pcm.ndim == 2 and not 1 <= pcm.shape[1] <= MAX_CHANNELS:
        raise UsageError(
            f"samples have shape {pcm.shape}: pass (n, channels), of at most {MAX_CHANNELS} "
            "channels, e.g. samples.T"
        )
    if pcm.ndim not in (1, 2):
        raise UsageError(f"samples have shape {pcm.shape}: pass (n,) or (n, channels)")


def _looks_like_int16(floats: NDArray[Any]) -> bool:
    """Whether floats are plainly on the scale of int16: most beyond full scale, none beyond
    that."""
    sizes = np.abs(floats)
    return bool(sizes.max() <= 32_768.0 and np.median(sizes) > _BEYOND_FULL_SCALE)


def _to_float32(pcm: NDArray[Any]) -> NDArray[np.float32]:
    if pcm.dtype == np.int16:
        samples: NDArray[np.float32] = pcm.astype(np.float32) * np.float32(1.0 / 32768.0)
        return samples
    if pcm.dtype == np.float32:
        return pcm
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is clipped
        return pcm.astype(np.float32)
