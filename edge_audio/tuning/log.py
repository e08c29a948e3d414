"""Evidence from a log that a user reviewed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edge_audio.sinks.log_reader import LogRecord
from edge_audio.tuning.evidence import Evidence

_LATE_S = 60.0  # ends are reported later than they happened
_BEFORE_S = 600.0  # what levels come later than is not told by the log
_MAX_RUNS = 8  # of a stream that may lie over each other


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
    """How much audio a log is of; its clock starts anew with every run. Runs may lie over each
    other, as in a history of a machine whose clock was put back. What was before the log, which
    may begin amid a run, does not count."""

    def __init__(self) -> None:
        self._heard_s = 0.0
        self._runs: dict[str, list[LogRecord]] = {}  # the latest record of each, the newest last
        self._before_s: dict[str, float] = {}  # until the first record

    def take(self, record: LogRecord) -> None:
        runs = self._runs.setdefault(record.stream, [])
        latest = min(reversed(runs), key=lambda one: _apart_s(one, record), default=None)
        if latest is None:
            self._before_s[record.stream] = record.time_s
        elif not _apart_s(latest, record) < math.inf:
            self._heard_s += record.time_s
        else:
            self._heard_s += max(0.0, record.time_s - latest.time_s)
            runs.remove(latest)
            record = max(record, latest, key=lambda one: one.time_s)
        if record.kind in ("level", "scores"):  # which a log has from the beginning of a run on
            self._before_s[record.stream] = min(self._before_s[record.stream], _BEFORE_S)
        runs.append(record)
        del runs[:-_MAX_RUNS]

    @property
    def hours(self) -> float:
        return (self._heard_s + sum(self._before_s.values())) / 3600.0


def _apart_s(latest: LogRecord, record: LogRecord) -> float:
    """By how much audio and time of day went on differently since `latest`, 0 where there is none;
    infinity where that is of an earlier run."""
    went_on_s = record.time_s - latest.time_s
    if record.run != latest.run or went_on_s < -_LATE_S:
        return math.inf
    if record.at is None or latest.at is None:
        return 0.0
    return abs((record.at - latest.at).total_seconds() - went_on_s)
