"""What is kept does not grow old by a clock that is wrong for a while."""

from __future__ import annotations

import time

import pytest

from edge_audio.support.age_clock import AgeClock

HOUR_S, DAY_S, YEAR_S = 3_600.0, 86_400.0, 365 * 86_400.0


class Clocks:
    """The system's clocks, which stand still but for what a test says."""

    def __init__(self) -> None:
        self.unix_s, self.running_s = 1.8e9, 50.0

    def advance(self, s: float) -> None:
        self.unix_s += s
        self.running_s += s


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(time, "time", lambda: clocks.unix_s)
    monkeypatch.setattr(time, "monotonic", lambda: clocks.running_s)
    return clocks


def test_it_is_the_systems_clock_that_is_set_by_less_than_an_hour(clocks: Clocks) -> None:
    clock = AgeClock()
    for set_by_s in (0.0, 0.9 * HOUR_S, -5.0, -YEAR_S, 0.9 * HOUR_S):
        clocks.advance(3 * DAY_S)
        clocks.unix_s += set_by_s
        assert clock.unix_s() == clocks.unix_s


def test_a_leap_that_is_taken_back_never_was(clocks: Clocks) -> None:
    clock = AgeClock()
    true_s = clocks.unix_s
    clocks.unix_s += 70 * YEAR_S
    for hour in range(23):
        assert clock.unix_s() == true_s + hour * HOUR_S
        clocks.advance(HOUR_S)
    clocks.unix_s -= 70 * YEAR_S
    assert clock.unix_s() == clocks.unix_s == true_s + 23 * HOUR_S


def test_a_leap_is_believed_after_a_day_and_the_next_one_again(clocks: Clocks) -> None:
    clock = AgeClock()
    for _ in range(2):
        before_s = clocks.unix_s
        clocks.unix_s += 30 * DAY_S
        assert clock.unix_s() == before_s
        clocks.advance(0.99 * DAY_S)
        assert clock.unix_s() == before_s + 0.99 * DAY_S
        clocks.advance(0.02 * DAY_S)
        assert clock.unix_s() == clocks.unix_s
