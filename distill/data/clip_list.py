"""The clip list of a data set, normally `manifest.csv`: a row for each clip."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from distill.data.labels import known_names
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.support.csv_rows import csv_rows
from edge_audio.support.files import errors_for_people, file_draft

CLIP_LIST_NAME = "manifest.csv"
COLUMNS = (
    *("path", "source_repo", "original_path", "licence", "attribution", "tier", "labels"),
    *("esc10_class", "esc50_class", "fold", "group", "duration_s", "orig_sr", "note"),
)


class Clip(Spec, frozen=True):
    """One row of a clip list; `path` is relative to the list's folder, and may lead into a tar
    (`shard-00000.tar/ab12.flac`). labels: see `known_names`; () where nobody
    has said what sounds. `source` is the repository that it came from, "" if the list does
    not say."""

    path: str
    tier: str
    labels: tuple[str, ...]
    esc10_class: str
    esc50_class: str
    fold: int
    group: str
    duration_s: float
    licence: str
    source: str = ""

    @property
    def is_esc(self) -> bool:
        """Whether the clip belongs to ESC-10 / ESC-50."""
        return bool(self.esc50_class)


def clip_list_at(place: Path) -> Path:
    """The clip list that a user means by a path: the file itself, whatever its name, or a folder's
    `manifest.csv`. The folder that it lies in is the data folder. Raises UsageError if there is
    neither."""
    if place.is_dir():
        place = place / CLIP_LIST_NAME
    if not place.is_file():
        raise UsageError(
            f"no clip list {place}: name a folder that has {CLIP_LIST_NAME}, or a clip list of "
            "another name in its folder; edge-audio dataset makes clip lists"
        )
    return place


def read_clip_list(place: Path) -> list[Clip]:
    """All clips of the clip list at `place` (see `clip_list_at`); a malformed row is a UsageError
    naming its line."""
    path = clip_list_at(place)
    return [_read_row(row, f"{path.name} line {line}") for line, row in _numbered_rows(path)]


def clip_list_rows(place: Path) -> Iterator[dict[str, str]]:
    """The rows of the clip list at `place` with all their columns, as text.

    Raises UsageError if the file is missing, is no UTF-8 CSV, has a row with a column too many or
    too few, or lists no clips.
    """
    return (row for _, row in _numbered_rows(clip_list_at(place)))


def _numbered_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a clip list. Raises as `clip_list_rows`."""
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, row in csv_rows(file, path):
                yield line, row
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 CSV file: {error}") from error
    if not line:
        raise UsageError(f"{path} lists no clips")


def to_row(clip: Clip, **others: object) -> dict[str, object]:
    """The columns of a clip list for a clip, and `others` beside them."""
    fields = {name: getattr(clip, name) for name in clip.__struct_fields__ if name != "source"}
    return {**fields, "labels": ";".join(clip.labels), "source_repo": clip.source, **others}


def write_clip_list(
    folder: Path, rows: Iterable[Mapping[str, object]], name: str = CLIP_LIST_NAME
) -> Path:
    """Writes `folder/name`, whole or not at all; absent columns stay empty, and others than
    COLUMNS are dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with (
        errors_for_people(path),
        file_draft(path) as draft,
        draft.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _read_row(row: dict[str, str], where: str) -> Clip:
    try:
        return Clip(
            path=row["path"],
            tier=sys.intern(row["tier"]),  # few distinct texts, and maybe millions of rows
            labels=known_names(sys.intern(x) for x in row["labels"].split(";") if x),
            esc10_class=row["esc10_class"],
            esc50_class=row["esc50_class"],
            fold=int(row["fold"]),
            group=row["group"],
            duration_s=float(row["duration_s"]),
            licence=sys.intern(row["licence"]),
            source=sys.intern(row.get("source_repo") or ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: bad or missing field {error}") from error


def first_few(items: Sequence[str], n: int = 5) -> str:
    """The first items, and how many there are beyond them."""
    beyond = f" and {len(items) - n} more" if len(items) > n else ""
    return ", ".join(items[:n]) + beyond
