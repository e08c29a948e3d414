"""Streaming conversion of any rate and channel count to mono at the model's rate (by soxr)."""

from __future__ import annotations

import numpy as np
import soxr

from edge_audio.support.arrays import FloatArray, in_range


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


class StreamResampler:
    """Mono samples at out_rate_hz; any chunking gives the same samples as one push.

    Output sample k lies at k / out_rate_hz seconds of the input: the filter's delay is not part
    of the output, it only holds back the newest input (about 40 ms at 44.1 or 48 kHz, 115 ms at
    8 kHz; nothing is held back where the rates are equal) until later input or `flush`.
    soxr's "HQ" is the cheapest setting that keeps 7.3 kHz within 0.1 dB on the way to 16 kHz;
    "LQ" would hold back half as much and lose 8 dB at 6.8 kHz.
    """

    def __init__(self, in_rate_hz: int, out_rate_hz: int) -> None:
        self.in_rate_hz = in_rate_hz
        self.out_rate_hz = out_rate_hz
        self._stream = None
        if in_rate_hz != out_rate_hz:
            self._stream = soxr.ResampleStream(in_rate_hz, out_rate_hz, 1, dtype="float32")

    def push(self, frames: FloatArray) -> FloatArray:
        """f32[n >= 0] or f32[n, n_channels] -> the f32[m >= 0] that are ready.

        NaN becomes 0 and input beyond [-1, 1] is clipped, since a filter would smear it. The
        output may overshoot [-1, 1] a little, as band-limited samples of clipped sound do.
        """
        mono = in_range(downmix(frames))
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
