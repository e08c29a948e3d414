"""What is wrong with a clip list, found before hours of training are spent on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path, PurePosixPath
from typing import Literal

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, first_few
from distill.data.licences import SHIPPED_TIERS
from distill.data.split import true_tier
from distill.data.tars import exists
from edge_audio.bundle.spec import Spec
from edge_audio.errors import SourceError, UsageError

Severity = Literal["error", "warning"]
_MISSPELT = 0.85
"""Similarity (difflib's ratio) from which an unknown label is taken for a known one misspelt:
"Dogs" is (0.86); "Washing machine", no AudioSet class, is no "Sewing machine" (0.83)."""


class Problem(Spec, frozen=True):
    """error: training on it would fail or mislead. warning: worth knowing."""

    severity: Severity
    message: str


def require_sound(folder: Path, clips: Sequence[Clip], labels: Collection[str]) -> list[Problem]:
    """The warnings of `check_clip_list`; if there are errors, UsageError with all of them."""
    problems = check_clip_list(folder, clips, labels)
    errors = [problem.message for problem in problems if problem.severity == "error"]
    if errors:
        raise UsageError(f"the clip list in {folder} cannot be used: {'; '.join(errors)}")
    return problems


def check_clip_list(folder: Path, clips: Sequence[Clip], labels: Collection[str]) -> list[Problem]:
    """Everything that is wrong with a clip list: paths, labels, groups, numbers, licences.

    labels: the known ones, normally AudioSet's. Files are looked for, but not opened.
    """
    return [
        *_check_paths(folder, clips),
        *_check_labels(clips, labels),
        *_check_groups(clips),
        *_check_numbers(clips),
        *_check_licences(clips),
    ]


def check_audio(folder: Path, clips: Iterable[Clip]) -> Iterator[Problem | None]:
    """Decodes each clip, and gives the error of those that cannot be or hold no samples."""
    for clip in clips:
        try:
            read_clip(folder / clip.path, 16_000)
        except SourceError as error:
            yield Problem(severity="error", message=str(error))
        else:
            yield None


def nearest_labels(label: str, labels: Collection[str]) -> list[str]:
    """Up to three known labels that a wrong one may stand for, the nearest first."""
    by_lower = {known.lower(): known for known in labels}
    return [by_lower[found] for found in get_close_matches(label.lower(), by_lower, 3)]


def _check_paths(folder: Path, clips: Sequence[Clip]) -> Iterator[Problem]:
    counts = Counter(clip.path for clip in clips)
    yield from _found("error", "paths are listed twice", [p for p, n in counts.items() if n > 1])
    outside = [path for path in counts if not _is_inside(path)]
    yield from _found("error", "paths lead out of the data folder", outside)
    try:
        missing = [path for path in counts if _is_inside(path) and not exists(folder / path)]
    except SourceError as error:
        yield Problem(severity="error", message=str(error))
    else:
        yield from _found("error", f"files are missing in {folder}", missing)


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


def _check_labels(clips: Sequence[Clip], labels: Collection[str]) -> Iterator[Problem]:
    counts = Counter(label for clip in clips for label in clip.labels)
    foreign = []
    for label in sorted(counts.keys() - set(labels)):
        near = nearest_labels(label, labels)
        if near and _similarity(label, near[0]) >= _MISSPELT:
            meant = " or ".join(map(repr, near))
            message = f"label {label!r} of {counts[label]} clips is unknown: did you mean {meant}?"
            yield Problem(severity="error", message=message)
        else:
            foreign.append(f"{label!r} ({counts[label]} clips)")
    known = f"labels are none of the {len(labels)} known ones, so no model will report them"
    yield from _found("warning", known, foreign)
    unlabelled = [clip.path for clip in clips if not clip.labels]
    what = "clips have no labels, so that teachers alone say what is in them"
    yield from _found("warning", what, unlabelled)


def _similarity(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _check_groups(clips: Sequence[Clip]) -> Iterator[Problem]:
    """Whether groups are split between folds. ESC's folds are as they are, leaks included: `Split`
    holds out such groups whole."""
    everywhere = _split_groups(clips)
    own = _split_groups(clip for clip in clips if not clip.is_esc)
    split = [f"{group} (folds {sorted(folds)})" for group, folds in own.items()]
    yield from _found("error", "groups are split between folds", split)
    leaks = [f"{g} (folds {sorted(folds)})" for g, folds in everywhere.items() if g not in own]
    known = "groups leak through the official folds of ESC-50 and are held out whole"
    yield from _found("warning", known, leaks)


def _split_groups(clips: Iterable[Clip]) -> dict[str, set[int]]:
    first: dict[str, int] = {}
    split: dict[str, set[int]] = {}
    for clip in clips:
        fold = first.setdefault(clip.group, clip.fold)
        if fold != clip.fold:
            split.setdefault(clip.group, {fold}).add(clip.fold)
    return split


def _check_numbers(clips: Sequence[Clip]) -> Iterator[Problem]:
    bad = [c.path for c in clips if not (math.isfinite(c.duration_s) and c.duration_s > 0)]
    yield from _found("error", "clips last no time (duration_s)", bad)
    yield from _found("error", "clips are in no fold from 1", [c.path for c in clips if c.fold < 1])
    yield from _found("error", "clips have no group", [c.path for c in clips if not c.group])


def _check_licences(clips: Sequence[Clip]) -> Iterator[Problem]:
    """Whether each tier fits the licence: tiers may have been written by hand, and recipes look at
    nothing else."""
    forbidden = [f"{clip.path} ({clip.licence})" for clip in clips if true_tier(clip) != clip.tier]
    tiers = " or ".join(SHIPPED_TIERS)
    known = f"clips are of tier {tiers}, though their licences forbid it, and do not train"
    yield from _found("warning", known, forbidden)


def _found(severity: Severity, what: str, items: Sequence[str]) -> Iterator[Problem]:
    if items:
        yield Problem(severity=severity, message=f"{len(items)} {what}: {first_few(items)}")
