"""Text as people read it."""

from __future__ import annotations


def clock(time_s: float) -> str:
    """Audio time as m:ss.ss, or h:mm:ss.ss from an hour on."""
    minutes, centiseconds = divmod(round(time_s * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{centiseconds / 100:05.2f}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"
