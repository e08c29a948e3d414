"""What the shipped model reports of the demo scene."""

from __future__ import annotations

from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

demo = load_script(REPOSITORY / "benchmarks" / "demo_events.py")
SEGMENTS = list(demo.segments())


def test_the_first_right_event_comes_within_five_seconds_and_most_sounds_become_one() -> None:
    starts = demo.reported("tiny-int8", "normal")
    found = [demo.right(starts, start_s, segment) for start_s, segment in SEGMENTS]
    assert min(one.seen_s for events in found for one in events) <= 5.0
    assert sum(map(bool, found)) >= 6
