"""Evidence from recordings that a user made and labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_audio.bundle.spec import EventSpec
from edge_audio.errors import UsageError
from edge_audio.events.sweep import Counts, SweptDetector
from edge_audio.labels.find import find_label
from edge_audio.labels.ontology import nearby_labels
from edge_audio.sources.audio_file import AudioFile
from edge_audio.support.csv_rows import csv_rows
from edge_audio.tagging.tagger import Tagger
from edge_audio.tuning.evidence import Evidence

_BLOCK_MS = 1000.0

Row = dict[str, str]


@dataclass(frozen=True)
class Recording:
    """labels: what sounds in it; none = nothing that should be reported."""

    path: Path
    labels: frozenset[str]


def read_recordings(path: Path, labels: Sequence[str]) -> list[Recording]:
    """A CSV file with the columns `path`, relative to it, and `labels`, separated by `;`. Raises
    UsageError, with the line, for what is missing, unknown or there twice."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv_rows(file, path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if not rows or not {"path", "labels"} <= rows[0][1].keys():
        raise UsageError(f"{path} needs a line 'path,labels' and one line for each recording")
    recordings = [_recording(path, line, row, labels) for line, row in rows]
    _check_distinct(path, rows)
    return recordings


def _check_distinct(path: Path, rows: Sequence[tuple[int, Row]]) -> None:
    """A recording that is listed twice would count twice, with its labels and without."""
    lines: dict[str, int] = {}
    for line, row in rows:
        if (first := lines.setdefault(row["path"], line)) != line:
            raise UsageError(f"{path}, line {line}: {row['path']} is listed in line {first}")


def _recording(path: Path, line: int, row: Row, labels: Sequence[str]) -> Recording:
    name = row["path"]
    if not name:
        raise UsageError(f"{path}, line {line}: there is no path")
    try:
        listed = filter(None, map(str.strip, row["labels"].split(";")))
        found = frozenset(find_label(x, labels) for x in listed)
    except UsageError as error:
        raise UsageError(f"{path}, line {line}: {error}") from error
    return Recording(path.parent / name, found)


def labels_in_play(spec: EventSpec, recordings: Iterable[Recording]) -> list[str]:
    """Labels that are watched, and labels that were recorded."""
    recorded = sorted({label for recording in recordings for label in recording.labels})
    return list(dict.fromkeys([*spec.thresholds, *recorded]))


def try_recordings(
    evidence: Evidence,
    tagger: Tagger,
    recordings: Iterable[Recording],
    done: Callable[[], None] = lambda: None,
) -> None:
    """Adds what every threshold reports in the recordings, by the real event detector. done:
    called after each. Raises SourceError for a recording that cannot be read."""
    step_s = tagger.bundle.manifest.model.step_s
    detector = SweptDetector(evidence.thresholds, evidence.spec, step_s)
    for recording in recordings:
        starts = _count_starts(detector, evidence, tagger, recording.path)
        for row, label in enumerate(evidence.labels):
            if label in recording.labels:
                evidence.n_right[row] += 1
                evidence.found[row] += starts[row] > 0
            elif not nearby_labels(label) & recording.labels:
                evidence.alarms[row] += starts[row]
                evidence.hours[row] += tagger.time_s / 3600.0
        done()


def _count_starts(
    detector: SweptDetector, evidence: Evidence, tagger: Tagger, path: Path
) -> Counts:
    """How many events each label has at each threshold in one recording."""
    counts: Counts = np.zeros(evidence.thresholds.shape, np.int64)
    columns = [tagger.labels.index(label) for label in evidence.labels]
    tagger.reset()
    detector.reset()
    with AudioFile(path, tagger.sample_rate_hz, _BLOCK_MS) as source:
        for block in source.blocks():
            for time_s, scores, _ in tagger.steps(block.samples):
                for event in detector.push(scores[columns], time_s):
                    counts[detector.place(event.label)] += event.kind == "start"
    tagger.flush()
    return counts
