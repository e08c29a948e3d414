"""Evidence from a log that a user reviewed."""

from __future__ import annotations

from collections.abc import Iterable

from edge_audio.sinks.log_reader import LogRecord
from edge_audio.tuning.evidence import Evidence


def review(evidence: Evidence, records: Iterable[LogRecord], all_false: bool) -> list[str]:
    """Adds what a log says: events whose start, or end, somebody marked `"correct": false` are
    false alarms, those with true were right, all others are left aside; with all_false they are
    false. Thresholds below that in use cannot be judged: what they would have reported is not in
    the log. Returns labels of events that are none of the evidence, sorted."""
    rows = {label: row for row, label in enumerate(evidence.labels)}
    opened: dict[tuple[str, str], bool | None] = {}
    logged, unknown = LoggedHours(), set()
    for record in records:
        logged.take(record)
        key = (record.stream, record.label)
        if record.kind == "start":
            opened[key] = record.correct
            unknown |= {record.label} - rows.keys()
        elif record.kind == "end" and record.label in rows:
            correct = opened.pop(key, None) if record.correct is None else record.correct
            _count(evidence, rows[record.label], record.score, correct, all_false)
    evidence.hours += logged.hours
    evidence.lowest = evidence.thresholds[:, 0]
    return sorted(unknown)


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


class LoggedHours:
    """How much audio a log is of; its clock starts anew with every run."""

    def __init__(self) -> None:
        self._before_s = 0.0
        self._latest: dict[str, tuple[float, float]] = {}  # stream -> run, and its latest time

    def take(self, record: LogRecord) -> None:
        run, latest_s = self._latest.get(record.stream, (record.run, 0.0))
        # ends are reported later than they happened
        if record.run != run or record.time_s < latest_s - 60.0:
            self._before_s += latest_s
            latest_s = 0.0
        self._latest[record.stream] = record.run, max(latest_s, record.time_s)

    @property
    def hours(self) -> float:
        return (self._before_s + sum(latest_s for _, latest_s in self._latest.values())) / 3600.0
