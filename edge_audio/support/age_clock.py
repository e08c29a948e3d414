"""The time by which what is kept grows old."""

from __future__ import annotations

import time

_LEAP_S = 3_600.0
_BELIEVED_AFTER_S = 86_400.0


class AgeClock:
    """The system's clock, but that a leap ahead is believed only once it has lasted for a day: a
    clock that is wrong for an hour, as those without a battery are, must not delete years of what
    was heard. What grows old by a true leap, behind a computer's sleep, goes a day later.
    """

    def __init__(self) -> None:
        self._leapt_s: float | None = None
        self._agree(time.time(), time.monotonic())

    def unix_s(self) -> float:
        """Seconds since 1970, by the clock that is believed. To be asked every hour or so: from
        one call to the next it may gain an hour."""
        wall_s, running_s = time.time(), time.monotonic()
        expected_s = self._wall_s + running_s - self._running_s
        if wall_s - expected_s > _LEAP_S:
            if self._leapt_s is None:
                self._leapt_s = running_s
            if running_s - self._leapt_s < _BELIEVED_AFTER_S:
                return expected_s
        self._agree(wall_s, running_s)
        return wall_s

    def _agree(self, wall_s: float, running_s: float) -> None:
        self._wall_s, self._running_s, self._leapt_s = wall_s, running_s, None
