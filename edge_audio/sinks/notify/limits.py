"""How often somebody is told."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

HOUR_S = 3600.0


class Limits:
    """Which messages are held back. n_held: of each label, since the latest that was told; n_all:
    of all labels, since the start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, which only grow."""
        self.n_all = 0
        self.n_held: Counter[str] = Counter()
        self._clock = clock
        self._told_s: dict[str, float] = {}
        self._hour: deque[float] = deque()

    def admit(
        self, label: str, pause_s: float, max_per_hour: int, is_urgent: bool = False
    ) -> int | None:
        """How many more there were since the latest message on that label; None where this one is
        held back as well. is_urgent: only pause_s counts."""
        now_s = self._clock()
        while self._hour and self._hour[0] <= now_s - HOUR_S:
            self._hour.popleft()
        told_s = self._told_s.get(label)
        is_early = told_s is not None and now_s - told_s < pause_s
        if is_early or (len(self._hour) >= max_per_hour and not is_urgent):
            self.n_held[label] += 1
            self.n_all += 1
            return None
        self._told_s[label] = now_s
        self._hour.append(now_s)
        return self.n_held.pop(label, 0)
