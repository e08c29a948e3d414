"""What a report keeps of months is bounded, and loses neither counts nor extremes."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from edge_audio.report.series import Levels, Segment, Segments


def test_many_events_are_joined_without_losing_count_time_or_extent() -> None:
    rng = random.Random(0)
    kept, starts_s = Segments(n_max=100), sorted(rng.uniform(0, 86_400) for _ in range(5000))
    for start_s in starts_s:
        kept.add(Segment(start_s, start_s + 2.0, 2.0, 0.5))
    joined = kept.apart(0.0)
    assert 10 < len(joined) <= 100
    assert sum(segment.n_events for segment in joined) == 5000
    assert sum(segment.sounding_s for segment in joined) == pytest.approx(10_000)
    assert joined[0].start_s == min(starts_s)
    assert joined[-1].end_s == max(starts_s) + 2.0
    assert all(a.end_s < b.start_s for a, b in pairwise(joined))


def test_levels_of_a_month_keep_their_extremes_and_their_mean() -> None:
    kept = Levels(n_max=200)
    for i in range(20_000):
        kept.add(i * 10.0, -5.0 if i == 777 else -60.0 + i % 2)
    assert len(kept) <= 200
    assert max(level.high_dbfs for level in kept) == -5.0
    assert min(level.low_dbfs for level in kept) == -60.0
    assert sum(level.n for level in kept) == 20_000
