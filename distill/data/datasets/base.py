"""What all layouts share: listed clips, where their audio is, and the clip list made of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from distill.data.audio import length_of
from distill.data.clip_list import Clip, first_few, to_row
from edge_audio.bundle.spec import Spec
from edge_audio.errors import SourceError, UsageError
from edge_audio.support.text import encodable

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
TRAIN_FOLD, EXTRA_TRAIN_FOLD, VALIDATION_FOLD, EVALUATION_FOLD = 1, 2, 4, 5
"""Folds of datasets that come with a split instead of folds; recipes hold out fold 5."""


class Listed(Spec, frozen=True):
    """One clip as a dataset lists it, before its audio is opened.

    path: its audio; None if that is not on disk. name: what the dataset calls it.
    Other fields are those of the clip list.
    """

    path: Path | None
    name: str
    labels: tuple[str, ...]
    fold: int
    group: str
    licence: str
    tier: str
    source_repo: str
    attribution: str
    esc10_class: str = ""
    esc50_class: str = ""


@dataclass
class Survey:
    """rows: of the clip list. missing: names of listed clips whose audio is not on disk.
    unreadable: errors of files that are, but cannot be decoded or hold no samples."""

    rows: list[dict[str, object]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    duration_s: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    groups: set[str] = field(default_factory=set)

    def summary(self, known_labels: Collection[str]) -> str:
        """Clips, hours, labels and groups in a line, then what is missing or unknown."""
        lines = [
            f"{len(self.rows)} clips, {self.duration_s / 3600:.2f} hours, "
            f"{len(self.labels)} labels, {len(self.groups)} groups"
        ]
        unknown = sorted(self.labels.keys() - set(known_labels))
        for what, items in (
            ("not on disk", self.missing),
            ("not readable (libsndfile decodes WAV, FLAC, Ogg and MP3)", self.unreadable),
            ("labels that AudioSet's classes lack", unknown),
        ):
            if items:
                lines.append(f"{len(items)} {what}: {first_few(items)}")
        return "\n".join(lines)


def survey(listed: Iterable[Listed], root: Path) -> Survey:
    """Opens every listed clip; rows get paths relative to `root`, the clip list's folder.

    Raises UsageError if the audio of no clip can be used, or lies outside of `root`.
    """
    found = Survey()
    for clip in listed:
        if clip.path is None:
            found.missing.append(clip.name)
            continue
        try:
            _check_name(clip.path)
            duration_s, rate_hz = _measure(clip.path)
        except SourceError as error:
            found.unreadable.append(str(error))
            continue
        row = _to_clip(clip, clip.path, root, duration_s)
        others = {"original_path": clip.name, "attribution": clip.attribution}
        found.rows.append(to_row(row, orig_sr=rate_hz, **others))
        found.duration_s += duration_s
        found.labels.update(clip.labels)
        found.groups.add(clip.group)
    if not found.rows:
        raise UsageError(f"no audio that can be used in {root}: {found.summary(())}")
    return found


def _check_name(path: Path) -> None:
    """SourceError for a name that has no place in a clip list."""
    if encodable(str(path)) != str(path):
        raise SourceError(f"{path}: its name is not UTF-8, as clip lists are: rename it")


def _measure(path: Path) -> tuple[float, int]:
    """(seconds, Hz), see `length_of`; SourceError, naming it, if it has no samples or is none."""
    n_frames, rate_hz = length_of(path)
    if n_frames == 0:
        raise SourceError(f"{path} holds no samples")
    return n_frames / rate_hz, rate_hz


def _to_clip(listed: Listed, path: Path, root: Path, duration_s: float) -> Clip:
    try:
        relative = path.relative_to(root)
    except ValueError as error:
        raise UsageError(f"{path} must lie below {root}, the clip list's folder") from error
    return Clip(
        path=relative.as_posix(),
        tier=listed.tier,
        labels=listed.labels,
        esc10_class=listed.esc10_class,
        esc50_class=listed.esc50_class,
        fold=listed.fold,
        group=listed.group,
        duration_s=round(duration_s, 3),
        licence=listed.licence,
        source=listed.source_repo,
    )


def find_audio(folder: Path, stem: str) -> Path | None:
    """`folder/stem` with whichever audio suffix is there."""
    candidates = (folder / f"{stem}{suffix}" for suffix in AUDIO_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def read_text(path: Path) -> str:
    """A file of a dataset; UsageError if it is missing or no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; is this the dataset's folder?") from error


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a dataset's CSV file; UsageError if it is missing or lacks any of `columns`."""
    rows = list(csv.DictReader(StringIO(read_text(path))))
    for line, row in enumerate(rows, start=2):
        absent = [column for column in columns if row.get(column) is None]
        if absent:
            raise UsageError(f"{path} line {line}: no {absent[0]}")
    return rows


def display_names(path: Path) -> dict[str, str]:
    """Display name of each mid in a class map (index, mid, display_name) such as AudioSet's
    class_labels_indices.csv; UsageError if it is missing or none."""
    return {row["mid"]: row["display_name"] for row in read_table(path, ("mid", "display_name"))}
