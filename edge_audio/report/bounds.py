"""The part of a log that somebody wants to see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

from edge_audio.errors import UsageError

_CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d+)?)")
_ISO = re.compile(
    r"(?P<minutes>\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(?P<seconds>:\d\d)?(?P<fraction>[.,]\d+)?"
    r"(?:(?P<utc>[Zz])|(?P<zone>[+-]\d\d)(?P<zone_minutes>:?\d\d)?)?"
)


@dataclass(frozen=True)
class Bound:
    """A time as a user writes it.

    seconds: of audio, or since 1970. is_dated: it is a time of day. is_local: by the clocks of
        the place that was listened to, which are ahead of UTC by some offset.
    """

    text: str
    seconds: float
    is_dated: bool
    is_local: bool = False


def parse_bound(text: str) -> Bound:
    """'90', '1:30' or '1:00:01.5' of audio; '2026-03-01', '2026-03-01T08:00', or the same with a
    zone (+01:00). Raises UsageError."""
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return Bound(text, hours * 3600 + minutes * 60 + seconds, is_dated=False)
    try:
        when = datetime.fromisoformat(_spelt_out(text))
    except ValueError:
        raise UsageError(
            f"{text!r} is no time: write a day and time such as 2026-03-01T08:00, or for "
            "recordings seconds or minutes of audio such as 90 or 1:30"
        ) from None
    is_local = when.tzinfo is None
    when = when.replace(tzinfo=timezone.utc) if is_local else when
    return Bound(text, when.timestamp(), is_dated=True, is_local=is_local)


def _spelt_out(text: str) -> str:
    """A time of ISO 8601 with all its parts, as Python 3.10 wants it: Z, +01 and +0100 are zones,
    and seconds have any number of decimals. Other texts as they are."""
    if not (match := _ISO.fullmatch(text)):
        return text
    part = match.groupdict(default="")
    zone = part["zone"] and f"{part['zone']}:{part['zone_minutes'].strip(':') or '00'}"
    fraction = f"{part['fraction'][1:7]:0<6}"
    return f"{part['minutes']}{part['seconds'] or ':00'}.{fraction}{part['utc'] and '+00:00'}{zone}"


@dataclass(frozen=True)
class Bounds:
    """From `first` to `last`; None = as far as the log goes."""

    first: Bound | None = None
    last: Bound | None = None

    @classmethod
    def parse(cls, first: str | None, last: str | None) -> Bounds:
        """Of times as `parse_bound` takes them. Raises UsageError."""
        return cls(*(None if text is None else parse_bound(text) for text in (first, last)))

    def check(self, is_dated: bool) -> None:
        """Raises UsageError for bounds of the other kind than the log's times."""
        for bound in (self.first, self.last):
            if bound is not None and bound.is_dated != is_dated:
                cure = "give a day and time" if is_dated else "give seconds of audio"
                has = "times of day" if is_dated else "no times of day"
                raise UsageError(f"{bound.text!r} does not fit: the log has {has}, so {cure}")

    def clip(
        self, start_s: float, end_s: float, offset_s: float = 0.0
    ) -> tuple[float, float] | None:
        """What lies within of a stretch of time, where clocks were ahead of UTC by offset_s."""
        first_s = _seconds(self.first, offset_s, float("-inf"))
        last_s = _seconds(self.last, offset_s, float("inf"))
        start_s, end_s = max(start_s, first_s), min(end_s, last_s)
        return (start_s, end_s) if start_s <= end_s and start_s < last_s else None


def _seconds(bound: Bound | None, offset_s: float, otherwise: float) -> float:
    if bound is None:
        return otherwise
    return bound.seconds - offset_s if bound.is_local else bound.seconds
