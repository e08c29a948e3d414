"""Streaming conversion of any rate and channel count to mono at the model's rate (by soxr)."""

from __future__ import annotations

import numpy as np

from edge_audio.errors import UsageError
from edge_audio.support.arrays import FloatArray, in_range

MIX, LOUDEST = "mix", "loudest"
_WINDOW_S, _RAMP_S = 0.25, 0.02
# Shares of the loudest channel's power: the mean lacks what it holds below the first and has it
# again above the second; a channel that stands for all does so above the third.
_MIN_SHARE, _ENOUGH_SHARE, _STILL_LOUD = 0.05, 0.1, 0.5
# Microphones that stand apart hear one sound one after the other: their mean is a comb of notches.
_MAX_LAG_S, _LAG_SAMPLES = 0.01, 4_096  # 3.4 m; of a window, which are looked at
_LAGGING, _STILL_LAGGING = 0.3, 0.15  # heights of the correlation's peak
_WHITENED = 1e-3  # of the strongest frequency: weaker ones count less


def downmix(frames: FloatArray) -> FloatArray:
    """f32[n] or f32[n, n_channels] -> f32[n]: the mean of the channels. NaN or infinite input gives
    NaN or infinite output."""
    if frames.ndim == 1:
        return frames
    if frames.shape[1] == 1:
        return frames[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):  # `in_range` mends what comes of it
        mean: FloatArray = frames.mean(axis=1, dtype=np.float32)
    return mean


def lag_height(pair: FloatArray, n_max_lag: int) -> float:
    """How much alike two channels, f32[n, 2], are where one is up to n_max_lag samples late, 0 to
    1; 0 if they are most alike as they are. Correlation of spectra without their magnitudes:
    Knapp and Carter, "The generalized correlation method for estimation of time delay", 1976."""
    # In doubles, for squares of floats may have no end
    spectra = np.fft.rfft(pair.astype(np.float64), 2 * len(pair), axis=0)
    cross = spectra[:, 0] * np.conj(spectra[:, 1])
    size = np.abs(cross)
    floor = _WHITENED * float(size.max())
    if not floor > 0.0:
        return 0.0
    weights = 1.0 / np.maximum(size, floor)
    heights = np.fft.irfft(cross * weights) / float(np.mean(size * weights))
    highest = float(max(heights[1 : n_max_lag + 1].max(), heights[-n_max_lag:].max()))
    return highest if highest > heights[0] else 0.0


def check_channel(text: str) -> str:
    """mix, loudest, or the number of a channel, from 1 on, which left (1) and right (2) also name.
    Raises ValueError."""
    channel = {"left": "1", "right": "2"}.get(text.strip().lower(), text.strip().lower())
    if channel in (MIX, LOUDEST) or (channel.isdecimal() and int(channel) > 0):
        return channel
    raise ValueError(f"channel {text!r} is none of mix, loudest, left, right, 1, 2, ...")


class Downmix:
    """Several channels to one, however they are cut: one of them, or their mean (see `downmix`),
    NaN and infinity as 0.

    Where the mean lacks what a channel holds, because channels cancel each other or most are
    dead, a window of 0.25 s shows it: from the next on the loudest channel stands for all, until
    their mean has it again. So it does for two microphones that stand apart.
    """

    def __init__(self, rate_hz: int, channel: str = MIX) -> None:
        """channel: see `check_channel`; loudest: the loudest stands for all in any case."""
        self._channel = channel
        self._n_window, self._n_ramp = (max(1, round(s * rate_hz)) for s in (_WINDOW_S, _RAMP_S))
        self._mean = np.zeros(0, np.float32)  # weights of the channels
        self._n_max_lag = max(1, round(_MAX_LAG_S * rate_hz))
        self._is_lagging = False

    def push(self, frames: FloatArray) -> FloatArray:
        """f32[n] or f32[n, n_channels] -> f32[n]. One channel alone stays as it is. Raises
        UsageError if there is no such channel."""
        if self._channel.isdecimal():
            return self._one_of(frames if frames.ndim == 2 else frames[:, None])
        if frames.ndim == 1 or frames.shape[1] == 1:
            return downmix(frames)
        if frames.shape[1] != len(self._mean):
            self._begin(frames.shape[1])
        if not np.isfinite(frames).all():
            frames = np.where(np.isfinite(frames), frames, np.float32(0.0))
        mixed = [np.zeros(0, np.float32)]
        while len(frames):
            part = frames[: self._n_window - self._position]
            frames = frames[len(part) :]
            mixed.append(self._mixed(part))
        return np.concatenate(mixed)

    def _one_of(self, frames: FloatArray) -> FloatArray:
        number, n_channels = int(self._channel), frames.shape[1]
        if number > n_channels:
            raise UsageError(f"there is no channel {number}, for it has {n_channels}")
        return frames[:, number - 1]

    def _begin(self, n_channels: int) -> None:
        self._mean = np.full(n_channels, 1.0 / n_channels, np.float32)
        self._weights = self._before = self._mean
        self._start_window()

    def _start_window(self) -> None:
        self._position = 0
        self._powers, self._mean_power = np.zeros(len(self._mean)), 0.0
        self._pair: list[FloatArray] = []  # what is looked at for a lag

    def _mixed(self, part: FloatArray) -> FloatArray:
        """f32[n] of frames that end within the window."""
        mean = mono = downmix(part)
        if not (self._weights is self._before is self._mean):
            place = np.arange(self._position + 1, self._position + len(part) + 1)
            ramp = np.minimum(1.0, place / self._n_ramp).astype(np.float32)[:, None]
            weights = self._before + (self._weights - self._before) * ramp
            mono = np.einsum("ij,ij->i", part, weights)
        self._powers += np.einsum("ij,ij->j", part, part, dtype=np.float64)
        self._mean_power += float(np.square(mean, dtype=np.float64).sum())
        if len(self._mean) == 2 and self._position < _LAG_SAMPLES:
            self._pair.append(part[: _LAG_SAMPLES - self._position])
        self._position += len(part)
        if self._position == self._n_window:
            self._choose()
        return mono

    def _choose(self) -> None:
        """What the next window is made of."""
        is_mean = self._weights is self._mean
        share = _MIN_SHARE if is_mean else _ENOUGH_SHARE
        self._before, loudest = self._weights, float(self._powers.max())
        if self._channel == MIX and self._mean_power >= share * loudest and not self._lags():
            self._weights = self._mean
        elif is_mean or self._powers @ self._weights < _STILL_LOUD * loudest:
            self._weights = np.eye(len(self._mean), dtype=np.float32)[int(self._powers.argmax())]
        self._start_window()

    def _lags(self) -> bool:
        """Whether one of two channels is a late copy of the other."""
        if len(self._mean) != 2 or self._n_window < 2 * self._n_max_lag:
            return False
        least = _STILL_LAGGING if self._is_lagging else _LAGGING
        self._is_lagging = lag_height(np.concatenate(self._pair), self._n_max_lag) > least
        return self._is_lagging


class StreamResampler:
    """Mono samples at out_rate_hz; any chunking gives the same samples as one push.

    Output sample k lies at k / out_rate_hz seconds of the input: the filter's delay is not part
    of the output, it only holds back the newest input (about 40 ms at 44.1 or 48 kHz, 115 ms at
    8 kHz; nothing is held back where the rates are equal) until later input or `flush`.
    soxr's "HQ" is the cheapest setting that keeps 7.3 kHz within 0.1 dB on the way to 16 kHz;
    "LQ" would hold back half as much and lose 8 dB at 6.8 kHz.
    """

    def __init__(self, in_rate_hz: int, out_rate_hz: int, channel: str = MIX) -> None:
        self.in_rate_hz = in_rate_hz
        self.out_rate_hz = out_rate_hz
        self._downmix = Downmix(in_rate_hz, channel)
        self._stream = None
        if in_rate_hz != out_rate_hz:
            import soxr  # which a file at the model's rate does not wait for

            self._stream = soxr.ResampleStream(in_rate_hz, out_rate_hz, 1, dtype="float32")

    def push(self, frames: FloatArray) -> FloatArray:
        """f32[n >= 0] or f32[n, n_channels] -> the f32[m >= 0] that are ready.

        NaN becomes 0 and input beyond [-1, 1] is clipped, since a filter would smear it. The
        output may overshoot [-1, 1] a little, as band-limited samples of clipped sound do.
        """
        mono = in_range(self._downmix.push(frames))
        resampled: FloatArray = (
            mono.copy() if self._stream is None else self._stream.resample_chunk(mono)
        )
        return resampled

    def flush(self) -> FloatArray:
        """f32[m >= 0] that were held back; the next push starts a new stream."""
        nothing = np.zeros(0, np.float32)
        if self._stream is None:
            return nothing
        tail = self._stream.resample_chunk(nothing, last=True)
        self._stream.clear()
        resampled: FloatArray = tail
        return resampled
