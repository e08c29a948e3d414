"""When a clip sounds: its labels say what is in it, its energy says when."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_audio.support.arrays import FloatArray

_FRAMES_PER_S = 100
_MIN_LEVEL_DB = -80.0


def find_bouts(
    samples: FloatArray,
    sample_rate_hz: int,
    min_s: float,
    max_gap_s: float = 0.4,
    max_drop_db: float = 30.0,
) -> list[slice]:
    """Where the bouts of sound begin and end in f32[n], to 10 ms.

    Sounding are frames down to max_drop_db, or halfway to the clip's background if that is
    higher, below the loudest; gaps up to max_gap_s belong to a bout. A clip whose level hardly
    varies, such as rain, is one bout. Bouts shorter than min_s are left out.
    """
    n_frame = sample_rate_hz // _FRAMES_PER_S
    level_db = _frame_levels_db(samples, n_frame)
    if not len(level_db) or level_db.max() < _MIN_LEVEL_DB:
        return []
    range_db = float(level_db.max() - np.percentile(level_db, 10))
    drop_db = min(max_drop_db, range_db / 2.0) if range_db >= 12.0 else np.inf
    sounding = np.flatnonzero(level_db >= level_db.max() - drop_db)
    is_new = np.diff(sounding) > 1.0 + max_gap_s * _FRAMES_PER_S
    runs = np.split(sounding, np.flatnonzero(is_new) + 1)
    spans = [(int(run[0]), int(run[-1]) + 1) for run in runs]
    return [
        slice(first * n_frame, stop * n_frame)
        for first, stop in spans
        if stop - first >= min_s * _FRAMES_PER_S
    ]


def longest_bout(samples: FloatArray, sample_rate_hz: int, min_s: float = 0.25) -> slice | None:
    """The first of the longest bouts; None if no bout lasts min_s."""
    bouts = find_bouts(samples, sample_rate_hz, min_s)
    return max(bouts, key=lambda bout: bout.stop - bout.start, default=None)


def _frame_levels_db(samples: FloatArray, n_frame: int) -> NDArray[np.float64]:
    """Level of every whole frame of n_frame samples, smoothed over three frames."""
    n_frames = len(samples) // n_frame
    frames = samples[: n_frames * n_frame].reshape(n_frames, n_frame)
    power = np.square(frames, dtype=np.float64).mean(1)
    padded = np.pad(power, 1, mode="edge") if n_frames else np.zeros(2)
    return 10.0 * np.log10(np.convolve(padded, np.full(3, 1.0 / 3.0), "valid") + 1e-9)
