"""Ticks and durations as people read them."""

from __future__ import annotations

from edge_audio.report.axis import Axis, duration


def test_ticks_are_few_and_at_round_times_for_every_range() -> None:
    axis = Axis(is_dated=True)
    axis.note_offset(0.0, 5.5 * 3600)
    for range_s in (1.5, 40.0, 3599.0, 9 * 3600.0, 86_400.0, 40 * 86_400.0, 9000 * 86_400.0):
        ticks = axis.ticks(1.7e9, 1.7e9 + range_s, 10)
        assert 1 <= len(ticks) <= 12
        assert all(1.7e9 <= time_s <= 1.7e9 + range_s for time_s, _ in ticks)
        if range_s > 12 * 3600:
            assert all(time_s % 3600 == 1800 for time_s, _ in ticks)  # full hours in India


def test_durations_carry_over() -> None:
    texts = [duration(s) for s in (0.04, 59.96, 3599.6, 86_400.0 * 2)]
    assert texts == ["0.0 s", "1 min 00 s", "1 h 00 min", "2 d 0 h"]
