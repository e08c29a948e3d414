"""Which event is in which clip, read from the JSON files beside clips as they come and go."""

from __future__ import annotations

import os
import re
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from edge_audio.sinks.clips.sidecar import MAX_SIDECAR_BYTES, read_sidecar
from edge_audio.support.files import open_regular

_SIDECAR = re.compile(r"(\d{6}|t\d+)-[\w-]+\.json")
_MAX_DAYS = 1000  # folders that are remembered


@dataclass
class _Day:
    """A folder of one day of one stream. changed_ns: when something in it came or went."""

    changed_ns: int = -1
    ids: dict[str, tuple[int, ...]] = field(default_factory=dict)  # name -> events
    by_id: dict[int, str] = field(default_factory=dict)


class ClipIndex:
    """The clips below a folder. What is asked for is an event; no path comes from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._days: dict[Path, _Day] = {}
        self._lock = threading.Lock()

    def find(self, event_id: int, at: datetime) -> Path | None:
        """The sound file of an event that began at that time of day; None if it has none, yet or
        no more."""
        with self._lock:
            for day in self._days_of(at):
                if (name := self._seen(day).by_id.get(event_id)) is not None:
                    path = (day / name).with_suffix(".flac")
                    return path if _is_file(path) else None
        return None

    @property
    def n_bytes(self) -> int:
        """Of all that is below the folder."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    total += Path(folder, name).lstat().st_size
        return total

    def _days_of(self, at: datetime) -> list[Path]:
        """Where the clip of an event may be: in the folder of the day on which that began, which
        may be the day before; of recordings, which have no day, in another."""
        names = (f"{at:%Y-%m-%d}", f"{at - timedelta(hours=2):%Y-%m-%d}", "undated")
        streams = []
        with suppress(OSError), os.scandir(self.folder) as entries:
            streams = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        return [stream / name for stream in streams for name in dict.fromkeys(names)]

    def _seen(self, folder: Path) -> _Day:
        """What is in a folder now; files that were read before are not read again."""
        try:
            status = folder.lstat()
        except OSError:
            self._days.pop(folder, None)
            return _Day()
        if not stat.S_ISDIR(status.st_mode):
            return _Day()
        day = self._days.setdefault(folder, _Day())
        if day.changed_ns != status.st_mtime_ns:
            day.changed_ns = status.st_mtime_ns
            _look(folder, day)
        while len(self._days) > _MAX_DAYS:
            del self._days[next(iter(self._days))]
        return day


def _look(folder: Path, day: _Day) -> None:
    with suppress(OSError):
        names = [name for name in os.listdir(folder) if _SIDECAR.fullmatch(name)]
        day.ids = {n: day.ids[n] if n in day.ids else _ids(folder / n) for n in names}
        day.by_id = {event_id: name for name in sorted(day.ids) for event_id in day.ids[name]}


def _ids(path: Path) -> tuple[int, ...]:
    """Of the events in a clip; none of what cannot be read."""
    try:
        with open_regular(path) as file:
            sidecar = read_sidecar(file.read(MAX_SIDECAR_BYTES))
    except (OSError, ValueError):
        return ()
    return tuple(event.id for event in sidecar.events if event.id is not None)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
