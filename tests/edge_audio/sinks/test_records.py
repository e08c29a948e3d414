"""Records say when: an event at the moment when it was heard, a notice at the present one."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from edge_audio.events.detector import Event
from edge_audio.sinks.records import event_record, in_minutes, notice_record, record
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.stream import Stream


def heard_stream(live: bool = True) -> Stream:
    """One that has just heard a block of the demo scene."""
    source = DemoScene(16_000)
    stream = Stream("kitchen", ("Dog",), 16_000, live=live)
    stream.stats.count(next(iter(source.blocks())), source)
    return stream


def day_of(written: dict[str, object]) -> datetime:
    return datetime.fromisoformat(str(written["at"]))


def test_an_event_has_one_time_of_day_at_every_destination() -> None:
    """Each destination counted back from when it wrote: their times were milliseconds apart."""
    stream = heard_stream()
    event = Event("start", "Dog", 0.01, 0.5)
    first = event_record(stream, event)
    time.sleep(0.02)
    assert event_record(stream, event) == first


def test_times_of_day_are_as_far_apart_as_times_of_the_audio() -> None:
    stream = heard_stream()
    stream.stats.heard_until(60.0)
    early, late = (day_of(record(stream, time_s)) for time_s in (50.5, 60.0))
    assert late - early == timedelta(seconds=9.5)
    assert abs((datetime.now().astimezone() - late).total_seconds()) < 5.0


def test_a_notice_in_a_long_silence_has_the_time_of_the_notice() -> None:
    stream = heard_stream()
    heard = day_of(record(stream, stream.stats.heard_s))
    time.sleep(0.05)
    notice = notice_record(stream, "the microphone is gone")
    assert notice["time_s"] == round(stream.stats.heard_s, 3)
    assert day_of(notice) - heard >= timedelta(seconds=0.05)


def test_recordings_have_no_time_of_day() -> None:
    stream = heard_stream(live=False)
    assert "at" not in event_record(stream, Event("start", "Dog", 0.01, 0.5))
    assert "at" not in notice_record(stream, "the file has ended")


def test_zones_of_odd_seconds_are_written_as_iso_8601_can() -> None:
    odd = timezone(timedelta(hours=5, minutes=53, seconds=28))
    at = datetime(2026, 3, 1, 7, 12, tzinfo=odd)
    assert in_minutes(at) == at
    assert in_minutes(at).isoformat().endswith("+05:53")
    usual = datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    assert in_minutes(usual) is usual
