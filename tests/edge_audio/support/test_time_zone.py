"""A zone that is changed while a program runs holds from the next minute on."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from edge_audio.support.time_zone import LOOK_EVERY_S, TimeZone


def test_a_change_of_the_zone_is_seen_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1e6]
    monkeypatch.setattr("edge_audio.support.time_zone.time.monotonic", lambda: now_s[0])
    zone = TimeZone()
    for hours in (-3, 5):
        monkeypatch.setenv("TZ", f"XXX{-hours}")
        zone.look()
        now_s[0] += LOOK_EVERY_S
        assert datetime.now().astimezone().utcoffset() == timedelta(hours=hours)
    monkeypatch.undo()
    time.tzset()
