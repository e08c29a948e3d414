"""Recordings of events, as the clip recorder leaves them: a FLAC file and a JSON file beside it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec

from edge_audio.errors import UsageError
from edge_audio.report.bounds import Bounds
from edge_audio.support.text import MAX_NAME_CHARS

MAX_SIDECAR_BYTES = 1 << 20
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)]


class Sidecar(msgspec.Struct, frozen=True):
    """What the recorder wrote about a clip."""

    time_s: float
    label: Name
    start_s: float
    end_s: float
    stream: Name = ""
    score: float = 0.0
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


@dataclass(frozen=True, order=True)
class Clip:
    """time_s: of its first event, on the axis of the report. path: of the sound."""

    time_s: float
    path: Path
    label: str
    stream: str
    score: float
    duration_s: float

    def link(self, page: Path) -> str:
        """The relative URL of the sound, for a page that is written to that path."""
        relative = os.path.relpath(self.path.absolute(), page.absolute().parent)
        return quote(Path(relative).as_posix(), safe="/")


def find_clips(
    folder: Path, is_dated: bool, bounds: Bounds, n_max: int = 200
) -> tuple[list[Clip], int]:
    """The newest clips below a folder that lie within bounds, sorted by time, and how many there
    are in all. Files that are no clips are passed over. Raises UsageError if there is no folder.
    """
    if not folder.is_dir():
        raise UsageError(f"--clips {folder} is no folder: name the one that the recorder fills")
    newest: list[Clip] = []
    n_found = 0
    for clip in _clips(folder, is_dated, bounds):
        n_found += 1
        if len(newest) < n_max:
            heapq.heappush(newest, clip)
        else:
            heapq.heappushpop(newest, clip)
    return sorted(newest), n_found


def _clips(folder: Path, is_dated: bool, bounds: Bounds) -> Iterator[Clip]:
    for path in folder.rglob("*.json"):
        sidecar = _read_sidecar(path)
        sound = path.with_suffix(".flac")
        if sidecar is None or (sidecar.at is not None) != is_dated or not sound.is_file():
            continue
        offset_s, time_s = 0.0, sidecar.time_s
        if sidecar.at is not None:
            offset = sidecar.at.utcoffset()
            assert offset is not None
            offset_s, time_s = offset.total_seconds(), sidecar.at.timestamp()
        duration_s = max(0.0, sidecar.end_s - sidecar.start_s)
        if bounds.clip(time_s, time_s, offset_s) is not None:
            yield Clip(time_s, sound, sidecar.label, sidecar.stream, sidecar.score, duration_s)


def _read_sidecar(path: Path) -> Sidecar | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_SIDECAR_BYTES), type=Sidecar)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
