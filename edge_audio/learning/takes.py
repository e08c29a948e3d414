"""Where a sound is within a recording: by its level above the recording's own background."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.support.arrays import FloatArray

FRAMES_PER_S = 100
MIN_TAKE_S = 0.08
MAX_TAKE_S = 10.0
MAX_GAP_S = 0.6  # within one take: of a tune, of a bark's echo
MIN_RANGE_DB = 12.0
MIN_LEVEL_DBFS = -65.0
_MAX_DROP_DB = 30.0  # below the loudest
_MAX_BELOW_LOUDEST_DB = 18.0  # of the loudest moment of a take: quieter ones are others' noise
_FULL_SCALE = 0.985


class Span(NamedTuple):
    """A stretch of a recording, in samples."""

    start: int
    stop: int


class Found(NamedTuple):
    """What is in a recording.

    spans: of the takes, in order. is_steady: the level hardly varies, so that all of it counts as
    one take. is_silent: there is nothing to hear. clipped_share: of the samples of the takes.
    was_cut: a take went on for longer than MAX_TAKE_S. whole: of the takes before they were cut.
    """

    spans: tuple[Span, ...]
    is_steady: bool = False
    is_silent: bool = False
    clipped_share: float = 0.0
    was_cut: bool = False
    whole: tuple[Span, ...] = ()


def find_takes(samples: FloatArray, sample_rate_hz: int) -> Found:
    """The takes in f32[n] within [-1, 1], to 10 ms.

    Sounding are frames from halfway between background and loudest moment on, at most 30 dB
    below that; the background is what a tenth of the frames stays below. Gaps of up to MAX_GAP_S
    belong to a take, repeats further apart are takes of their own.
    """
    n_frame = sample_rate_hz // FRAMES_PER_S
    level_db = levels_dbfs(samples, n_frame)
    if not len(level_db) or level_db.max() < MIN_LEVEL_DBFS:
        return Found((), is_silent=True)
    range_db = float(level_db.max() - np.percentile(level_db, 10))
    is_steady = range_db < MIN_RANGE_DB
    drop_db = np.inf if is_steady else min(_MAX_DROP_DB, range_db / 2.0)
    runs = _runs(np.flatnonzero(level_db >= level_db.max() - drop_db))
    loudest = [run for run in runs if level_db[run].max() >= level_db.max() - _MAX_BELOW_LOUDEST_DB]
    long_enough = [run for run in loudest if len(run) >= MIN_TAKE_S * FRAMES_PER_S] or loudest
    whole = tuple(Span(int(run[0]) * n_frame, (int(run[-1]) + 1) * n_frame) for run in long_enough)
    n_most = round(MAX_TAKE_S * sample_rate_hz)
    spans = tuple(Span(start, min(stop, start + n_most)) for start, stop in whole)
    clipped = [_is_clipped(samples[span.start : span.stop]) for span in spans]
    share = float(np.concatenate(clipped).mean())
    return Found(spans, is_steady, False, share, spans != whole, whole)


def levels_dbfs(samples: FloatArray, n_frame: int) -> NDArray[np.float64]:
    """Level of every whole frame of n_frame samples, smoothed over three frames."""
    n_frames = len(samples) // n_frame
    frames = samples[: n_frames * n_frame].reshape(n_frames, n_frame)
    power = np.square(frames, dtype=np.float64).mean(1)
    if not n_frames:
        return np.zeros(0)
    smoothed = np.convolve(np.pad(power, 1, mode="edge"), np.full(3, 1.0 / 3.0), "valid")
    return 10.0 * np.log10(smoothed + 1e-12)


def _runs(sounding: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    is_new = np.diff(sounding) > 1.0 + MAX_GAP_S * FRAMES_PER_S
    return np.split(sounding, np.flatnonzero(is_new) + 1)


def _is_clipped(samples: FloatArray) -> NDArray[np.bool_]:
    return np.abs(samples) >= _FULL_SCALE
