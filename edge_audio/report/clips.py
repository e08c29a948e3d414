"""Recordings of events, as the clip recorder leaves them: a FLAC file and a JSON file beside it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from edge_audio.errors import UsageError
from edge_audio.report.bounds import Bounds
from edge_audio.sinks.clips.sidecar import MAX_SIDECAR_BYTES, Sidecar, read_sidecar
from edge_audio.sinks.log_reader import short_name
from edge_audio.support.text import MAX_NAME_CHARS


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
        return quote(os.fsencode(Path(relative).as_posix()), safe="/")  # of any bytes


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
        if not path.is_file():  # a pipe would be waited for
            continue
        sidecar = _read_sidecar(path)
        sound = path.with_suffix(".flac")
        if sidecar is None or (sidecar.at is not None) != is_dated or not sound.is_file():
            continue
        offset_s, time_s = 0.0, sidecar.time_s
        if (moment := sidecar.moment) is not None:
            offset = moment.utcoffset()
            assert offset is not None
            offset_s, time_s = offset.total_seconds(), moment.timestamp()
        duration_s = max(0.0, sidecar.end_s - sidecar.start_s)
        if bounds.clip(time_s, time_s, offset_s) is not None:
            label, score = _strongest(sidecar)
            yield Clip(time_s, sound, label, sidecar.stream, score, duration_s)


def _strongest(sidecar: Sidecar) -> tuple[str, float]:
    """The label and score of the event with the highest one; a bark that ends a long hum is what
    the clip is of."""
    events = [event for event in sidecar.events if len(event.label) <= MAX_NAME_CHARS]
    pairs = [(sidecar.label, sidecar.score), *((event.label, event.score) for event in events)]
    return max(pairs, key=lambda pair: pair[1])


def _read_sidecar(path: Path) -> Sidecar | None:
    try:
        with path.open("rb") as file:
            sidecar = read_sidecar(file.read(MAX_SIDECAR_BYTES))
    except (OSError, ValueError):
        return None
    if len(sidecar.label) > MAX_NAME_CHARS:
        return None
    return msgspec.structs.replace(sidecar, stream=short_name(sidecar.stream))
