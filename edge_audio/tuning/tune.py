"""Thresholds for a place: what a user's own recordings, or a reviewed log, say of each label."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec
from edge_audio.errors import UsageError
from edge_audio.events.choice import try_thresholds
from edge_audio.events.detector import EventDetector
from edge_audio.labels.find import find_label
from edge_audio.labels.ontology import relatives
from edge_audio.sinks.log_reader import LogRecord
from edge_audio.sources.audio_file import AudioFile
from edge_audio.tagging.tagger import Tagger

Counts = NDArray[np.int64]

POINTS = np.round(1.0 / (1.0 + np.exp(-np.linspace(-2.95, 5.3, 56))), 4)
"""Candidate thresholds from 0.05 to 0.995, evenly spaced in log-odds."""

_BLOCK_MS = 1000.0


@dataclass(frozen=True)
class Recording:
    """labels: what sounds in it; none = nothing that should be reported."""

    path: Path
    labels: frozenset[str]


class Evidence:
    """What each threshold would have done. Rows are `labels`; column 0 of `alarms` and `found`
    is the threshold in use, the others are POINTS.

    alarms: false starts. found: recordings, or confirmed events, of the label that it reports, of
    n_right. hours: of audio without the label. lowest: thresholds below are unknown.
    """

    def __init__(self, labels: Sequence[str], spec: EventSpec) -> None:
        """labels: those to tune. spec: what is in use; a label without threshold counts as
        off."""
        self.labels = tuple(labels)
        self.spec = spec
        in_use = [spec.thresholds[x].on if x in spec.thresholds else np.inf for x in self.labels]
        self.thresholds = np.column_stack([in_use, np.tile(POINTS, (len(self.labels), 1))])
        self.alarms: Counts = np.zeros(self.thresholds.shape, np.int64)
        self.found: Counts = np.zeros_like(self.alarms)
        self.n_right: Counts = np.zeros(len(self.labels), np.int64)
        self.hours = np.zeros(len(self.labels))
        self.lowest = np.zeros(len(self.labels))


@dataclass(frozen=True)
class Choice:
    """on: None = no threshold keeps the budget. alarms, found: before and after; hours: of audio
    without the label; n_right: recordings or confirmed events with it."""

    label: str
    on_before: float | None
    on: float | None
    alarms: tuple[int, int]
    found: tuple[int, int]
    n_right: int
    hours: float


def choose(evidence: Evidence, alarms_per_hour: float) -> list[Choice]:
    """For each label the lowest threshold from which on all keep the budget. Labels of which
    nothing right was recorded are never made more sensitive than they are."""
    return [_choose_one(evidence, row, alarms_per_hour) for row in range(len(evidence.labels))]


def _choose_one(evidence: Evidence, row: int, alarms_per_hour: float) -> Choice:
    thresholds, alarms, found = (
        part[row] for part in (evidence.thresholds, evidence.alarms, evidence.found)
    )
    floor = evidence.lowest[row] if evidence.n_right[row] else thresholds[0]
    column = _lowest_within(thresholds, alarms, alarms_per_hour * evidence.hours[row], floor)
    is_on = column is not None
    return Choice(
        label=evidence.labels[row],
        on_before=float(thresholds[0]) if np.isfinite(thresholds[0]) else None,
        on=float(thresholds[column]) if is_on else None,
        alarms=(int(alarms[0]), int(alarms[column]) if is_on else 0),
        found=(int(found[0]), int(found[column]) if is_on else 0),
        n_right=int(evidence.n_right[row]),
        hours=float(evidence.hours[row]),
    )


def _lowest_within(
    thresholds: NDArray[np.float64], alarms: Counts, allowed: float, floor: float
) -> int | None:
    """The column of the lowest threshold of at least `floor` from which on all keep to what is
    allowed."""
    best = None
    for column in np.argsort(-thresholds, kind="stable").tolist():
        if np.isfinite(thresholds[column]):
            if thresholds[column] < floor or alarms[column] > allowed + 1e-9:
                break
            best = column
    return best


def read_recordings(path: Path, labels: Sequence[str]) -> list[Recording]:
    """A CSV file with the columns `path`, relative to it, and `labels`, separated by `;`. Raises
    UsageError, with the line, for what is missing or unknown."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if not rows or not {"path", "labels"} <= rows[0].keys():
        raise UsageError(f"{path} needs a line 'path,labels' and one line for each recording")
    return [_recording(path, number, row, labels) for number, row in enumerate(rows, 2)]


def _recording(
    path: Path, number: int, row: dict[str, str | None], labels: Sequence[str]
) -> Recording:
    name, listed = row["path"], row["labels"] or ""
    if not name:
        raise UsageError(f"{path}, line {number}: there is no path")
    try:
        found = frozenset(find_label(x.strip(), labels) for x in listed.split(";") if x.strip())
    except UsageError as error:
        raise UsageError(f"{path}, line {number}: {error}") from error
    return Recording(path.parent / name, found)


def labels_in_play(spec: EventSpec, recordings: Iterable[Recording]) -> list[str]:
    """Those that are watched, and those that were recorded."""
    recorded = sorted({label for recording in recordings for label in recording.labels})
    return list(dict.fromkeys([*spec.thresholds, *recorded]))


def hear(
    evidence: Evidence,
    tagger: Tagger,
    recordings: Iterable[Recording],
    done: Callable[[], None] = lambda: None,
) -> None:
    """Adds what every threshold reports in the recordings, by the real event detector. done:
    called after each. Raises SourceError for a recording that cannot be read."""
    swept = _Swept(evidence, tagger)
    for recording in recordings:
        starts = swept.starts(recording.path)
        for row, label in enumerate(evidence.labels):
            if label in recording.labels:
                evidence.n_right[row] += 1
                evidence.found[row] += starts[row] > 0
            elif not relatives(label) & recording.labels:
                evidence.alarms[row] += starts[row]
                evidence.hours[row] += tagger.time_s / 3600.0
        done()


class _Swept:
    """A detector of every label at every threshold at once."""

    def __init__(self, evidence: Evidence, tagger: Tagger) -> None:
        self._shape = evidence.thresholds.shape
        self._tagger = tagger
        self._columns = [tagger.labels.index(label) for label in evidence.labels]
        finite = np.nan_to_num(evidence.thresholds.ravel(), posinf=1.0)
        spec = try_thresholds(evidence.spec, finite.tolist())
        step_s = tagger.bundle.manifest.model.step_s
        self._detector = EventDetector(tuple(spec.thresholds), spec, step_s)

    def starts(self, path: Path) -> Counts:
        """How many events each label has at each threshold in one recording."""
        counts = np.zeros(self._shape[0] * self._shape[1], np.int64)
        self._tagger.reset()
        self._detector.reset()
        with AudioFile(path, self._tagger.sample_rate_hz, _BLOCK_MS) as source:
            for block in source.blocks():
                for time_s, scores, _ in self._tagger.steps(block.samples):
                    repeated = np.repeat(scores[self._columns], self._shape[1])
                    for event in self._detector.push(repeated, time_s):
                        counts[int(event.label)] += event.kind == "start"
        self._tagger.flush()
        return counts.reshape(self._shape)


def review(evidence: Evidence, records: Iterable[LogRecord], all_false: bool) -> None:
    """Adds what a log says: events whose start, or end, somebody marked `"correct": false` are
    false alarms, those with true were right, all others are left aside; with all_false they are
    false. Thresholds below that in use cannot be judged: what they would have reported is not in
    the log."""
    rows = {label: row for row, label in enumerate(evidence.labels)}
    opened: dict[tuple[str, str], bool | None] = {}
    heard = _Heard()
    for record in records:
        heard.take(record)
        key = (record.stream, record.label)
        if record.kind == "start":
            opened[key] = record.correct
        elif record.kind == "end" and record.label in rows:
            correct = opened.pop(key, None) if record.correct is None else record.correct
            _count(evidence, rows[record.label], record.score, correct, all_false)
    evidence.hours += heard.hours
    evidence.lowest = evidence.thresholds[:, 0]


def _count(
    evidence: Evidence, row: int, score: float, correct: bool | None, all_false: bool
) -> None:
    """One event of the log, which any threshold up to its highest score would have reported."""
    would = evidence.thresholds[row] <= score
    if correct:
        evidence.n_right[row] += 1
        evidence.found[row] += would
    elif correct is False or all_false:
        evidence.alarms[row] += would


class _Heard:
    """How much audio a log is of; its clock starts anew with every run."""

    def __init__(self) -> None:
        self._before_s = 0.0
        self._latest_s: dict[str, float] = {}

    def take(self, record: LogRecord) -> None:
        latest_s = self._latest_s.get(record.stream, 0.0)
        if record.time_s < latest_s - 60.0:  # ends are reported later than they happened
            self._before_s += latest_s
            latest_s = 0.0
        self._latest_s[record.stream] = max(latest_s, record.time_s)

    @property
    def hours(self) -> float:
        return (self._before_s + sum(self._latest_s.values())) / 3600.0


def settings(choices: Sequence[Choice], alarms_per_hour: float) -> str:
    """The choices as a section of the settings of `edge-audio listen --config`."""
    lines = [f"# by edge-audio tune: at most {alarms_per_hour:g} false alarms per hour and label"]
    excluded = [choice.label for choice in choices if choice.on is None and choice.on_before]
    lines.append("[events]")
    if excluded:
        lines.append(f"exclude = [{', '.join(map(_quoted, excluded))}]  # none keeps to that")
    lines += ["", "[events.thresholds]"]
    lines += [f"{_quoted(c.label)} = {c.on:g}" for c in choices if c.on is not None]
    return "\n".join(lines) + "\n"


def _quoted(label: str) -> str:
    return msgspec.json.encode(label).decode()
