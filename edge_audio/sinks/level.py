"""How often a sink tells of the level of a stream."""

from __future__ import annotations

import math


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

    def is_due(self, time_s: float) -> bool:
        """Whether one is due in the step that ends at time_s; then the next one is not, for a
        while."""
        if not self.every_s or time_s < self._last_s + self.every_s:
            return False
        self._last_s = time_s
        return True
