"""The latest seconds of audio as a strip of colours: mel bands over time, in half blocks."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import pairwise

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from edge_audio.bundle.spec import FrontendSpec
from edge_audio.features.frontend import Frontend
from edge_audio.support.arrays import FloatArray

STRIP_S = 20.0
STRIP_ROWS = 8  # of two bands each
_WINDOW_SAMPLES = 400  # without overlap: a strip needs less detail than a model
_QUIET, _LOUD = -0.6, 2.4  # of frames, see FrontendSpec.log_mean
_ANCHORS = ((8, 8, 24), (70, 15, 105), (165, 45, 95), (240, 120, 35), (250, 235, 140))
_N_COLORS = 12


class Strip:
    """Takes audio at any time, and computes only when it is drawn."""

    def __init__(self, sample_rate_hz: int, n_columns: int) -> None:
        spec = FrontendSpec(
            sample_rate_hz=sample_rate_hz,
            window_samples=_WINDOW_SAMPLES,
            hop_samples=_WINDOW_SAMPLES,
            n_mels=2 * STRIP_ROWS,
            max_hz=min(8_000.0, sample_rate_hz / 2),
        )
        self._frontend = Frontend(spec)
        self._n_columns = n_columns
        column_s = STRIP_S / n_columns
        self._frames_per_column = max(1, round(column_s * sample_rate_hz / _WINDOW_SAMPLES))
        self._max_samples = round(STRIP_S * sample_rate_hz)
        self._waiting: deque[FloatArray] = deque()
        self._n_waiting = 0
        self._frames = np.zeros((0, spec.n_mels), np.float32)  # not yet a whole column
        self._columns: deque[FloatArray] = deque(maxlen=n_columns)

    def add(self, samples: FloatArray) -> None:
        """The next samples; where nobody draws, the oldest are forgotten."""
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        while self._n_waiting - len(self._waiting[0]) >= self._max_samples:
            self._n_waiting -= len(self._waiting.popleft())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self._catch_up()
        missing = self._n_columns - len(self._columns)
        blank = np.zeros((missing, 2 * STRIP_ROWS), np.intp)
        colors = np.concatenate([blank, *(column[None] for column in self._columns)])[:, ::-1]
        for row in range(STRIP_ROWS):
            yield from _row(colors[:, 2 * row], colors[:, 2 * row + 1])
            yield Segment.line()

    def _catch_up(self) -> None:
        if not self._waiting:
            return
        frames = self._frontend.push(np.concatenate(self._waiting))
        self._waiting.clear()
        self._n_waiting = 0
        frames = np.concatenate([self._frames, frames])
        n_whole = len(frames) - len(frames) % self._frames_per_column
        self._frames = frames[n_whole:]
        shape = (-1, self._frames_per_column, frames.shape[1])
        loudness = (frames[:n_whole].reshape(shape).max(axis=1) - _QUIET) / (_LOUD - _QUIET)
        indices = np.clip(loudness * _N_COLORS, 0, _N_COLORS - 1).astype(np.intp)
        self._columns.extend(indices)


def _row(upper: FloatArray, lower: FloatArray) -> RenderResult:
    """Half blocks, one segment for each run of the same two colours."""
    pairs = upper * _N_COLORS + lower
    starts = [0, *(np.flatnonzero(np.diff(pairs)) + 1).tolist(), len(pairs)]
    for start, end in pairwise(starts):
        yield Segment("▀" * (end - start), _style(int(upper[start]), int(lower[start])))


@lru_cache(maxsize=_N_COLORS**2)
def _style(upper: int, lower: int) -> Style:
    return Style(color=_color(upper), bgcolor=_color(lower))


def _color(index: int) -> str:
    place = index / (_N_COLORS - 1) * (len(_ANCHORS) - 1)
    before = min(int(place), len(_ANCHORS) - 2)
    share = place - before
    pairs = zip(_ANCHORS[before], _ANCHORS[before + 1], strict=True)
    red, green, blue = (round(a + (b - a) * share) for a, b in pairs)
    return f"#{red:02x}{green:02x}{blue:02x}"
