"""AudioSet: the published segment lists, and audio that was fetched from YouTube (Gemmeke et al.,
ICASSP 2017)."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from distill.data.datasets.base import (
    AUDIO_SUFFIXES,
    EVALUATION_FOLD,
    EXTRA_TRAIN_FOLD,
    TRAIN_FOLD,
    Listed,
    read_text,
)
from distill.data.licences import licence_tier
from edge_audio.errors import UsageError

_FOLDS = {
    "balanced_train_segments.csv": TRAIN_FOLD,
    "unbalanced_train_segments.csv": EXTRA_TRAIN_FOLD,
    "eval_segments.csv": EVALUATION_FOLD,
}
# YTID, YTID_start or YTID_start_end; some downloaders put a Y in front.
_STEM = re.compile(r"Y?([A-Za-z0-9_-]{11})(?:_(\d+(?:\.\d+)?)(?:_\d+(?:\.\d+)?)?)?")
_LICENCE = "YouTube, terms of the uploader"


class AudioFile(NamedTuple):
    """A file that may hold a segment; start: as its name states it, in s or ms."""

    start: float | None
    path: Path


def list_audioset(folder: Path, names: Mapping[str, str]) -> list[Listed]:
    """The segments of the lists in `folder`, audio anywhere below it; a video is a group.

    Folds: balanced_train 1, unbalanced_train 2, eval 5. All clips are of tier C, for the licence
    of the audio is not known.
    """
    lists = [folder / name for name in _FOLDS if (folder / name).is_file()]
    if not lists:
        raise UsageError(f"none of {', '.join(_FOLDS)} is in {folder}: is this AudioSet's folder?")
    files = _find_files(folder)
    return [clip for path in lists for clip in _read_segments(path, files, names)]


def _read_segments(
    path: Path, files: Mapping[str, list[AudioFile]], names: Mapping[str, str]
) -> Iterator[Listed]:
    for row in csv.reader(StringIO(read_text(path)), skipinitialspace=True):
        if not row or row[0].startswith("#"):
            continue
        try:
            video, start_s, _, mids = row
            audio = _choose(files.get(video, []), float(start_s))
        except ValueError as error:
            raise UsageError(f"{path}: {row} is no segment: {error}") from error
        yield Listed(
            path=audio,
            name=f"{video} from {start_s} s",
            labels=tuple(names.get(mid, mid) for mid in mids.split(",")),
            fold=_FOLDS[path.name],
            group=f"yt:{video}",
            licence=_LICENCE,
            tier=licence_tier(_LICENCE),
            source_repo="AudioSet",
            attribution=f"https://www.youtube.com/watch?v={video}",
        )


def _find_files(folder: Path) -> dict[str, list[AudioFile]]:
    """By video; formats that can be decoded come first."""
    files = defaultdict(list)
    for parent, _, filenames in os.walk(folder):
        for filename in sorted(filenames):
            stem, suffix = os.path.splitext(filename)
            match = _STEM.fullmatch(stem)
            if match and suffix != ".csv":
                start = None if match[2] is None else float(match[2])
                files[match[1]].append(AudioFile(start, Path(parent) / filename))
    for found in files.values():
        found.sort(key=lambda file: file.path.suffix not in AUDIO_SUFFIXES)
    return files


def _choose(files: list[AudioFile], start_s: float) -> Path | None:
    fitting = (None, start_s, 1000.0 * start_s)
    return next((file.path for file in files if file.start in fitting), None)
