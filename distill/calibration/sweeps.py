"""What every candidate threshold does in the scenes of a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.calibration.scenes import Negatives, SceneScores, is_in_time
from distill.data.companions import Companions
from distill.scoring.streams import swept_segments
from edge_audio.bundle.spec import EventSpec
from edge_audio.events.sweep import Counts, SweptDetector


class Start(NamedTuple):
    """A start that was reported in a negative scene where its label cannot be expected. row: its
    label; column: the threshold; seen_s: how much audio was heard when it was reported."""

    scene: int
    row: int
    column: int
    seen_s: float


class Sweep(NamedTuple):
    """What every candidate threshold did in one fold; rows are labels, columns `points`. starts:
    those behind `alarms`."""

    points: NDArray[np.float64]
    found: Counts
    n_events: Counts  # of each label
    alarms: Counts
    hours: NDArray[np.float64]  # of each label, in which it cannot be expected
    starts: Sequence[Start] = ()


def sweep(
    points: NDArray[np.float64],
    spec: EventSpec,
    step_s: float,
    labels: Sequence[str],
    scored: SceneScores,
    companions: Companions,
) -> Sweep:
    """Counts the events of the real event detector at every candidate threshold. points f64[n];
    spec: smoothing and durations."""
    detector = SweptDetector(np.tile(points, (len(labels), 1)), spec, step_s)
    negatives = Negatives(scored.sounds, scored.durations_s, companions)
    starts = _false_starts(detector, labels, scored, negatives)
    alarms: Counts = np.zeros((len(labels), len(points)), np.int64)
    for start in starts:
        alarms[start.row, start.column] += 1
    return Sweep(
        points=points,
        found=_count_found(detector, labels, scored, len(points)),
        n_events=np.array([_count(label, scored) for label in labels]),
        alarms=alarms,
        hours=np.array([negatives.hours[label] for label in labels]),
        starts=starts,
    )


def _false_starts(
    detector: SweptDetector, labels: Sequence[str], scored: SceneScores, negatives: Negatives
) -> list[Start]:
    return [
        Start(scene, row, column, one.seen_s)
        for scene, track in enumerate(scored.negatives)
        for row, column, one in swept_segments(track, detector, labels)
        if negatives.is_false(scene, one)
    ]


def _count_found(
    detector: SweptDetector, labels: Sequence[str], scored: SceneScores, n_points: int
) -> Counts:
    found: Counts = np.zeros((len(labels), n_points), np.int64)
    for events, track in zip(scored.events, scored.scenes, strict=True):
        seen: dict[tuple[int, int], list[float]] = {}
        for row, column, one in swept_segments(track, detector, labels):
            seen.setdefault((row, column), []).append(one.seen_s)
        for event in events:
            row = labels.index(event.label)
            for column in range(n_points):
                times_s = seen.get((row, column), ())
                found[row, column] += any(is_in_time(event, seen_s) for seen_s in times_s)
    return found


def _count(label: str, scored: SceneScores) -> int:
    return sum(event.label == label for events in scored.events for event in events)
