"""The time zone of the machine, which may be changed while a program runs for months."""

from __future__ import annotations

import time

LOOK_EVERY_S = 60.0


class TimeZone:
    """Has the C library look at the system's zone again, which it reads once by itself."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def look(self) -> None:
        """To be called often; looks once a minute."""
        if (now_s := time.monotonic()) < self._next_s:
            return
        self._next_s = now_s + LOOK_EVERY_S
        if hasattr(time, "tzset"):  # Windows has none
            time.tzset()
