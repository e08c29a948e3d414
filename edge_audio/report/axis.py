"""The time axis of a report: seconds of audio, or times of day where the log has them."""

from __future__ import annotations

import bisect
from datetime import datetime, timedelta, timezone

from edge_audio.support.text import clock

DAY_S = 86_400
_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800]
_STEPS_S += [3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600]
_STEPS_S += [days * DAY_S for days in (1, 2, 7, 14, 28, 56, 112, 365, 730, 3650, 36500)]
MAX_ZONE_CHANGES = 100  # what more a log has is damage


class Axis:
    """Times of the log as people read them.

    A time is in seconds: of audio, or since 1970 where the log has times of day. Those are shown
    as the clocks where the listening took place showed them, summer time included.
    """

    def __init__(self, is_dated: bool) -> None:
        self.is_dated = is_dated
        self._changes_s: list[float] = []  # from when on
        self._offsets_s: list[float] = []  # clocks are ahead of UTC by this much

    def note_offset(self, time_s: float, offset_s: float) -> None:
        """A record of time_s had this offset from UTC."""
        is_known = bool(self._offsets_s) and self._offsets_s[-1] == offset_s
        if is_known or len(self._offsets_s) >= MAX_ZONE_CHANGES:
            return
        if not self._changes_s or time_s > self._changes_s[-1]:
            self._changes_s.append(time_s)
            self._offsets_s.append(offset_s)

    def offset_s(self, time_s: float) -> float:
        """How far clocks were ahead of UTC."""
        if not self._offsets_s:
            return 0.0
        return self._offsets_s[max(0, bisect.bisect(self._changes_s, time_s) - 1)]

    def bin_start(self, time_s: float, width_s: int) -> float:
        """Where the hour, day, ... that contains a time begins, by the clocks of the place."""
        local_s = (time_s + self.offset_s(time_s)) // width_s * width_s
        about_s = local_s - self.offset_s(time_s)
        return local_s - self.offset_s(about_s)

    def ticks(self, start_s: float, end_s: float, n_max: int) -> list[tuple[float, str]]:
        """Up to about n_max (time, text) at round times within the range."""
        step_s = next((s for s in _STEPS_S if (end_s - start_s) / s <= n_max), _STEPS_S[-1])
        times_s: list[float] = []
        time_s = self.bin_start(start_s, step_s)
        while time_s <= end_s:
            times_s.append(time_s)
            # half a step more, for where clocks are put forward or back
            time_s = max(self.bin_start(time_s + 1.5 * step_s, step_s), time_s + step_s / 2)
        return [(t, self._tick_text(t, step_s)) for t in times_s if t >= start_s]

    def _tick_text(self, time_s: float, step_s: int) -> str:
        if not self.is_dated:
            return short_clock(time_s)
        when = self.when(time_s)
        if step_s >= DAY_S or (when.hour, when.minute, when.second) == (0, 0, 0):
            return f"{when:%a} {when.day} {when:%b}" + (f" {when.year}" * (step_s > 90 * DAY_S))
        return f"{when:%H:%M:%S}" if step_s < 60 else f"{when:%H:%M}"

    def when(self, time_s: float) -> datetime:
        """As a time of day, with its zone; for dated logs only."""
        zone = timezone(timedelta(seconds=self.offset_s(time_s)))
        return datetime.fromtimestamp(time_s, zone)

    def text(self, time_s: float, with_day: bool = False) -> str:
        """A time of the axis as text, to the second."""
        if not self.is_dated:
            return clock(time_s)
        when = self.when(time_s)
        day = f"{when:%a} {when.day} {when:%b} {when.year} " if with_day else ""
        return f"{day}{when:%H:%M:%S}"


def short_clock(time_s: float) -> str:
    """Audio time as m:ss, or h:mm:ss from an hour on."""
    return clock(time_s).partition(".")[0]


def duration(seconds: float) -> str:
    """As people say it: 4.2 s, 3 min 20 s, 7 h 05 min, 12 d 3 h."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return "{} min {:02} s".format(*divmod(round(seconds), 60))
    if seconds < 2 * DAY_S:
        return "{} h {:02} min".format(*divmod(round(seconds / 60), 60))
    return "{} d {} h".format(*divmod(round(seconds / 3600), 24))
