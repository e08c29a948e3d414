"""Histories to test with: what is written into them, and read out of them."""

from __future__ import annotations

from pathlib import Path

from edge_audio.events.detector import Event
from edge_audio.history.destination import HistoryConfig, HistoryDestination
from edge_audio.history.queries import Wanted, all_events
from edge_audio.history.store import History, HistoryFile, Start
from edge_audio.sources.stream import Stream

DAY_S = 86_400


def start(unix_s: float, label: str = "Dog", stream: str = "kitchen") -> Start:
    return Start(round(unix_s * 1e6), 3600, stream, label, 0.5, unix_s % 1000, None)


def fill(history: History, n: int, every_s: float, first_s: float = 1.7e9) -> None:
    for i in range(n):
        began = start(first_s + i * every_s)
        history.begin(began)
        history.end(began, 1.0)


def labels_in(path: Path) -> list[str]:
    """Of all events in a file, the newest first."""
    return [each.label for each in all_events(HistoryFile(path), Wanted())]


def destination_of(path: Path, **settings: float) -> HistoryDestination:
    return HistoryDestination(HistoryConfig(path=str(path), **settings))


def starting(stream: Stream, label: str, time_s: float) -> Event:
    """A start as the listener tells it: the stream knows the id of what sounds."""
    stream.begin(label, time_s)
    return Event("start", label, time_s, 0.5)
