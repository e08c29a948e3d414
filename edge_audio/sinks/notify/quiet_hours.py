"""Hours of the week in which nobody wants to be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_QUIET_HOURS, MAX_CHARS = 50, 80
_WHOLE = re.compile(r"(?:([a-z,\- ]+?)\s+)?(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)", re.IGNORECASE)
_HINT = "quiet hours are like 22:00-07:00, or sat-sun 07:00-09:30, or mon,wed 13:00-15:00"


@dataclass(frozen=True)
class QuietHours:
    """One stretch. days: on which it begins, 0 = Monday. begin_min, end_min: since midnight, by the
    clocks of the place; where the end is not later than the begin, it is on the next day."""

    days: frozenset[int]
    begin_min: int
    end_min: int

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """Raises ValueError."""
        match = _WHOLE.fullmatch(text.strip()) if len(text) <= MAX_CHARS else None
        if match is None:
            raise ValueError(f"{text[:60]!r}: {_HINT}")
        begin_min = _minutes(match[2], match[3], 24 * 60 - 1)
        end_min = _minutes(match[4], match[5], 24 * 60)
        if begin_min == end_min:
            raise ValueError(f"{text!r} begins when it ends: 00:00-24:00 is a whole day")
        days = frozenset(range(7)) if match[1] is None else _days(match[1])
        return cls(days, begin_min, end_min)

    def hold(self, at: datetime) -> bool:
        """Whether that moment is within them. Where clocks are set back an hour comes twice, and is
        quiet twice; one that is left out cannot be."""
        minute, today = 60 * at.hour + at.minute, at.weekday()
        if self.begin_min < self.end_min:
            return today in self.days and self.begin_min <= minute < self.end_min
        is_evening = today in self.days and minute >= self.begin_min
        return is_evening or ((today - 1) % 7 in self.days and minute < self.end_min)


def is_quiet(stretches: Sequence[QuietHours], at: datetime) -> bool:
    """Whether any of them has that moment in it."""
    return any(stretch.hold(at) for stretch in stretches)


def _minutes(hours: str, minutes: str, latest_min: int) -> int:
    total = 60 * int(hours) + int(minutes)
    if int(minutes) > 59 or total > latest_min:
        raise ValueError(f"{hours}:{minutes} is no time of day: {_HINT}")
    return total


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        begin, end = _day(first), _day(last if dash else first)
        found.update((begin + i) % 7 for i in range((end - begin) % 7 + 1))
    return frozenset(found)


def _day(text: str) -> int:
    name = text.lower()
    if name not in DAYS:
        raise ValueError(f"{text!r} is no day: write {', '.join(DAYS)}")
    return DAYS.index(name)
