"""Quiet hours are those of the clocks of the place."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from edge_audio.sinks.notify.quiet_hours import QuietHours, is_quiet

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 30, tzinfo=BERLIN)


def at(text: str, day: int = 0) -> datetime:
    """A time of the week that begins on a Monday."""
    hours, _, minutes = text.partition(":")
    return MONDAY + timedelta(days=day, hours=int(hours), minutes=int(minutes))


@pytest.mark.parametrize(
    ("text", "quiet", "loud"),
    [
        ("22:00-07:00", [("22:00", 0), ("06:59", 0), ("23:59", 6)], [("07:00", 0), ("21:59", 3)]),
        ("13:00-15:00", [("13:00", 2), ("14:59", 5)], [("12:59", 0), ("15:00", 0)]),
        ("00:00-24:00", [("00:00", 0), ("23:59", 6)], []),
        ("sat-sun 07:00-09:00", [("07:00", 5), ("08:00", 6)], [("08:00", 4), ("08:00", 0)]),
        ("fri 22:00-09:00", [("22:00", 4), ("08:59", 5)], [("08:59", 4), ("22:00", 5)]),
        ("sun 22:00-06:00", [("23:00", 6), ("05:59", 0)], [("23:00", 0), ("05:00", 6)]),
        ("sat-mon 10:00-11:00", [("10:00", 5), ("10:30", 0)], [("10:00", 1)]),
        ("Mon, Wed 10:00 - 11:00", [("10:00", 0), ("10:00", 2)], [("10:00", 1)]),
    ],
)
def test_they_hold_on_their_days_and_over_midnight(
    text: str, quiet: list[tuple[str, int]], loud: list[tuple[str, int]]
) -> None:
    hours = QuietHours.parse(text)
    assert [each for each in quiet if not hours.hold(at(*each))] == []
    assert [each for each in loud if hours.hold(at(*each))] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-07",
        "22:00",
        " " * 1_000_000,
        "25:00-26:00",
        "10:60-11:00",
        "10:00-10:00",
        "24:00-07:00",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quiet hours are like|no day|whole day"):
        QuietHours.parse(text)


def test_clocks_that_change_do_not_shift_them() -> None:
    hours = [QuietHours.parse("01:30-02:30")]
    autumn = datetime(2026, 10, 24, 23, 0, tzinfo=timezone.utc)  # 01:00, clocks go back at 03:00
    quarters = [autumn + timedelta(minutes=15 * i) for i in range(12)]
    heard = [f"{one.astimezone(BERLIN):%H:%M}" for one in quarters]
    quiet = [text for one, text in zip(quarters, heard, strict=True)
             if is_quiet(hours, one.astimezone(BERLIN))]  # fmt: skip
    assert quiet == ["01:30", "01:45", "02:00", "02:15", "02:00", "02:15"]
    spring = datetime(2026, 3, 29, 0, 0, tzinfo=timezone.utc)  # 01:00; 02:00 is 03:00
    later = [(spring + timedelta(minutes=15 * i)).astimezone(BERLIN) for i in range(8)]
    assert [f"{x:%H:%M}" for x in later if is_quiet(hours, x)] == ["01:30", "01:45"]
