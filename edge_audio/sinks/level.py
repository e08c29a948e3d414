"""How often a sink tells of the level of a stream, and the level of all audio in between."""

from __future__ import annotations

import math

import numpy as np

from edge_audio.sources.stream import level_of_power
from edge_audio.support.arrays import FloatArray


def check_level_every_s(level_every_s: float) -> None:
    """Raises ValueError unless it is a time; 0 = never."""
    if not 0.0 <= level_every_s < math.inf:
        raise ValueError("level_every_s must be finite and not negative")


class LevelClock:
    """Says when the level is due.

    every_s: seconds of audio between two levels, 0 = never; may be changed at any time.
    """

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self._last_s = -math.inf
        self._time_s: float | None = None  # of the latest step

    def is_due(self, time_s: float) -> bool:
        """Whether one is due in the step that ends at time_s; then the next one is not, for a
        while."""
        self._time_s = time_s
        if not self.every_s or time_s < self._last_s + self.every_s:
            return False
        self._last_s = time_s
        return True

    @property
    def rest_s(self) -> float | None:
        """The end of a stream that ends now, if so much was heard since the last one that the rest
        is worth a level: a second, or half of every_s."""
        if not self.every_s or self._time_s is None:
            return None
        is_worth_it = self._time_s - self._last_s >= min(1.0, self.every_s / 2)
        return self._time_s if is_worth_it else None


class MeanLevel:
    """The RMS level of all audio since it was last taken."""

    def __init__(self) -> None:
        self._energy, self._n_samples = 0.0, 0

    def add(self, samples: FloatArray) -> None:
        """f32[n], the next."""
        self._energy += float(np.dot(samples, samples))
        self._n_samples += len(samples)

    def take(self) -> float:
        """In dBFS; that of silence if there was no audio."""
        power = self._energy / self._n_samples if self._n_samples else 0.0
        self._energy, self._n_samples = 0.0, 0
        return level_of_power(power)
