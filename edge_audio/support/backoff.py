"""Pauses between attempts at something that fails for a while."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double from first_s to max_s, and are short again once all went well for longer
    than steady_s."""

    def __init__(
        self, first_s: float, max_s: float, steady_s: float = 0.0, jitter: float = 0.0
    ) -> None:
        """jitter: by which part a pause is longer or shorter at random, so that many clients of
        one server do not come back all at once."""
        self._first_s, self._max_s, self._steady_s = first_s, max_s, steady_s
        self._jitter = jitter
        self._next_s = min(first_s, max_s)

    def next_s(self) -> float:
        """How long to wait before the next attempt, in seconds."""
        pause_s = self._next_s
        self._next_s = min(2.0 * pause_s, self._max_s)
        return pause_s * random.uniform(1.0 - self._jitter, 1.0 + self._jitter)

    def worked_for(self, duration_s: float) -> None:
        """Tells how long all went well since the latest attempt."""
        if duration_s > self._steady_s:
            self._next_s = min(self._first_s, self._max_s)
