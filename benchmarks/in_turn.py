"""Times of several ways to do one thing, taken in turn, so that what else the machine does hits
all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def least_s(ways: Sequence[Callable[[], float]], n_rounds: int) -> list[float]:
    """Of each way, which tells its seconds."""
    rounds = [[way() for way in ways] for _ in range(n_rounds)]
    return [min(times_s) for times_s in zip(*rounds, strict=True)]
