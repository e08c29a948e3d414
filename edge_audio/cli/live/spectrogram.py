"""The latest seconds of audio as a strip of colours: mel bands over time, in half blocks."""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
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
    """Takes audio at any time, and computes only when it is drawn. is_still: shows what it showed,
    and takes audio all the same."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.is_still = False
        spec = FrontendSpec(
            sample_rate_hz=sample_rate_hz,
            window_samples=_WINDOW_SAMPLES,
            hop_samples=_WINDOW_SAMPLES,
            n_mels=2 * STRIP_ROWS,
            max_hz=min(8_000.0, sample_rate_hz / 2),
        )
        self._frontend = Frontend(spec)
        self._max_samples = round(STRIP_S * sample_rate_hz)
        self._max_frames = math.ceil(self._max_samples / _WINDOW_SAMPLES)
        self._waiting: deque[FloatArray] = deque()
        self._n_waiting = 0
        self._frames = np.zeros((0, spec.n_mels), np.float32)  # the latest
        self._n_forgotten = 0  # frames before these

    def add(self, samples: FloatArray) -> None:
        """The next samples; where nobody draws, the oldest are forgotten."""
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        while self._n_waiting - len(self._waiting[0]) >= self._max_samples:
            self._n_waiting -= len(self._waiting.popleft())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many columns as there is room for, the latest at the right."""
        self._catch_up()
        columns = self._columns(options.max_width)
        blank = np.zeros((options.max_width - len(columns), 2 * STRIP_ROWS), np.intp)
        colors = np.concatenate([blank, columns])[:, ::-1]
        for row in range(STRIP_ROWS):
            yield from _row(colors[:, 2 * row], colors[:, 2 * row + 1])
            yield Segment.line()

    def _catch_up(self) -> None:
        if not self._waiting or self.is_still:
            return
        frames = self._frontend.push(np.concatenate(self._waiting))
        self._waiting.clear()
        self._n_waiting = 0
        frames = np.concatenate([self._frames, frames])
        n_too_old = max(0, len(frames) - 2 * self._max_frames)  # columns may end within a frame
        self._frames = frames[n_too_old:]
        self._n_forgotten += n_too_old

    def _columns(self, n_columns: int) -> NDArray[np.intp]:
        """Colours [up to n_columns, bands] of STRIP_S. A frame is always in the same column of
        its width, however much has passed: nothing flickers."""
        n_frames = max(1, round(self._max_frames / n_columns))  # of each column
        n_partial = -self._n_forgotten % n_frames  # of a column whose beginning is forgotten
        n_whole = max(0, len(self._frames) - n_partial) // n_frames * n_frames
        frames = self._frames[n_partial : n_partial + n_whole]
        loudest = frames.reshape(-1, n_frames, frames.shape[1]).max(axis=1)[-n_columns:]
        loudness = (loudest - _QUIET) / (_LOUD - _QUIET)
        colors: NDArray[np.intp] = np.clip(loudness * _N_COLORS, 0, _N_COLORS - 1).astype(np.intp)
        return colors


def _row(upper: NDArray[np.intp], lower: NDArray[np.intp]) -> RenderResult:
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
