"""Pauses between attempts."""

from __future__ import annotations

from edge_audio.support.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert Backoff(5.0, 3.0).next_s() == 3.0


def test_pauses_are_short_again_only_after_a_long_time_without_trouble() -> None:
    backoff = Backoff(1.0, 8.0, steady_s=10.0)
    for worked_for_s, pause_s in ((0.0, 1.0), (10.0, 2.0), (10.1, 1.0), (0.0, 2.0)):
        backoff.worked_for(worked_for_s)
        assert backoff.next_s() == pause_s


def test_jitter_moves_a_pause_and_not_those_that_follow() -> None:
    pauses = [Backoff(1.0, 8.0, jitter=0.2).next_s() for _ in range(200)]
    assert 0.8 <= min(pauses) < 0.9
    assert 1.1 < max(pauses) <= 1.2
    backoff = Backoff(1.0, 8.0, jitter=0.2)
    assert 6.4 <= [backoff.next_s() for _ in range(20)][-1] <= 9.6
