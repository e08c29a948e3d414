"""Event thresholds for a stated budget of false alarms: the same way for every model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from distill.calibration.scenes import (
    Fold,
    Negatives,
    SceneScores,
    fold_sounds,
    is_in_time,
    score_scenes,
)
from distill.data.clip_list import Clip
from distill.data.companions import Companions, find_companions
from distill.mixing.soundscapes import SoundscapeConfig
from distill.progress import tracked
from distill.scoring.streams import StreamScorer, swept_segments
from edge_audio.bundle.spec import EventSpec, Spec, Threshold
from edge_audio.errors import UsageError
from edge_audio.events.suggestion import HYSTERESIS
from edge_audio.events.sweep import Counts, SweptDetector, allowed_alarms, lowest_within

N_THRESHOLDS = 48
"""Candidate thresholds, evenly spaced in log-odds."""

_HIGHEST = 0.998


class CalibrationConfig(Spec, frozen=True):
    """smoothing_s, min_on_s, min_off_s: see EventSpec.

    max_alarms_per_hour: what a label may report, on average over the labels and on recordings it
        was not chosen on, where it cannot be expected.
    min_recall: labels that find a smaller share of their events within that stay off by default.
    min_positives: so do labels with fewer clips.
    min_on: no threshold is lower.
    scenes: what is composed of each of n_folds parts of the recordings; together their negatives
        should last some times the hours in which one alarm is allowed.
    """

    smoothing_s: float = 0.08
    min_on_s: float = 0.08
    min_off_s: float = 0.4
    max_alarms_per_hour: float = 0.1
    min_recall: float = 0.1
    min_positives: int = 5
    min_on: float = 0.02
    n_folds: int = 4
    seed: int = 0
    scenes: SoundscapeConfig = SoundscapeConfig()

    def __post_init__(self) -> None:
        if self.n_folds < 3:
            raise ValueError("need at least 3 folds: one to score, one to choose on, one to check")


class Sweep(NamedTuple):
    """What every candidate threshold did in one fold; rows are labels, columns `points`."""

    points: NDArray[np.float64]
    found: Counts
    n_events: Counts  # of each label
    alarms: Counts
    hours: NDArray[np.float64]  # of each label, in which it cannot be expected


def calibrate(
    config: CalibrationConfig,
    scorer: StreamScorer,
    folder: Path,
    chosen: Sequence[Clip],
    clips: Sequence[Clip],
) -> EventSpec:
    """Thresholds from the `chosen` clips; `clips` is the whole clip list. UsageError if they are
    too few for any label."""
    folds = fold_sounds(folder, chosen, config.n_folds)
    n_clips = frequent_labels(config, scorer.labels, folds)
    labels = tuple(n_clips)
    (scored,) = score_scenes([scorer], labels, folds, config.scenes, config.seed)
    companions = find_companions(clips, labels)
    progress = tracked(scored, "trying thresholds")
    sweeps = [sweep(config, scorer.step_s, labels, one, companions) for one in progress]
    return choose_events(config, scorer.step_s, n_clips, sweeps)


def frequent_labels(
    config: CalibrationConfig, labels: Sequence[str], folds: Sequence[Fold]
) -> dict[str, int]:
    """Label -> the number of clips with a bout of it, for labels with enough of them. Raises
    UsageError if there are none."""
    counts = Counter(label for fold in folds for bout in fold.bouts for label in bout.labels)
    kept = {label: counts[label] for label in labels if counts[label] >= config.min_positives}
    if not kept:
        raise UsageError(
            f"no label has {config.min_positives} clips that the recipe held out: thresholds "
            "cannot be chosen"
        )
    return kept


def choose_events(
    config: CalibrationConfig,
    step_s: float,
    n_clips: Mapping[str, int],
    sweeps: Sequence[Sweep],
) -> EventSpec:
    """Thresholds of those labels that find enough within the budget. n_clips: of each label, row
    by row of the sweeps, how many are behind all folds."""
    thresholds = {
        label: threshold
        for row, (label, n) in enumerate(n_clips.items())
        if (threshold := choose_threshold(config, sweeps, row, n))
    }
    return msgspec.structs.replace(events_without(config, step_s), thresholds=thresholds)


def events_without(config: CalibrationConfig, step_s: float) -> EventSpec:
    """Smoothing and durations for a model that scores every step_s. min_on_s is counted in whole
    steps: one score of a long window tells more than min_on_s already."""
    return EventSpec(
        smoothing_s=config.smoothing_s,
        min_on_s=round(config.min_on_s / step_s) * step_s,
        min_off_s=config.min_off_s,
    )


def choose_threshold(
    config: CalibrationConfig, sweeps: Sequence[Sweep], row: int, n_clips: int
) -> Threshold | None:
    """The threshold of one label by all sweeps, if those that are chosen without one sweep at a
    time find enough in it. What they do there is what it is said to bring."""
    column = lowest_column(config, sweeps, row)
    if column is None:
        return None
    found, alarms = 0, 0
    for left_out, others in leave_one_out(sweeps):
        unseen = lowest_column(config, others, row)
        if unseen is not None:
            found += int(left_out.found[row, unseen])
            alarms += int(left_out.alarms[row, unseen])
    hours = float(sum(one.hours[row] for one in sweeps))
    recall = found / max(1, sum(int(one.n_events[row]) for one in sweeps))
    if recall < config.min_recall:
        return None
    on = round(float(sweeps[0].points[column]), 4)
    return Threshold(
        on=on,
        off=round(HYSTERESIS * on, 4),
        alarms_per_hour=round(alarms / hours, 3),
        negative_h=round(hours, 1),
        recall=round(recall, 3),
        n_positives=n_clips,
    )


def leave_one_out(sweeps: Sequence[Sweep]) -> Iterator[tuple[Sweep, list[Sweep]]]:
    """Pairs of each sweep and all others."""
    for index, one in enumerate(sweeps):
        yield one, [*sweeps[:index], *sweeps[index + 1 :]]


def lowest_column(config: CalibrationConfig, sweeps: Sequence[Sweep], row: int) -> int | None:
    """The column from which on all thresholds keep the budget, see `allowed_alarms`. None if there
    is none, or nothing to find."""
    hours = float(sum(one.hours[row] for one in sweeps))
    if not hours or not any(one.n_events[row] for one in sweeps):
        return None
    alarms: Counts = np.sum([one.alarms[row] for one in sweeps], axis=0)
    allowed = allowed_alarms(config.max_alarms_per_hour, hours)
    return lowest_within(sweeps[0].points, alarms, allowed)


def sweep(
    config: CalibrationConfig,
    step_s: float,
    labels: Sequence[str],
    scored: SceneScores,
    companions: Companions,
) -> Sweep:
    """Counts the events of the real event detector at every candidate threshold."""
    points = expit(np.linspace(logit(config.min_on), logit(_HIGHEST), N_THRESHOLDS))
    spec = events_without(config, step_s)
    detector = SweptDetector(np.tile(points, (len(labels), 1)), spec, step_s)
    negatives = Negatives(scored.sounds, scored.durations_s, companions)
    alarms: Counts = np.zeros((len(labels), N_THRESHOLDS), np.int64)
    for scene, track in enumerate(scored.negatives):
        for row, column, one in swept_segments(track, detector, labels):
            alarms[row, column] += negatives.is_false(scene, one)
    found = np.zeros_like(alarms)
    for events, track in zip(scored.events, scored.scenes, strict=True):
        seen: dict[tuple[int, int], list[float]] = {}
        for row, column, one in swept_segments(track, detector, labels):
            seen.setdefault((row, column), []).append(one.seen_s)
        for event in events:
            row = labels.index(event.label)
            for column in range(N_THRESHOLDS):
                times_s = seen.get((row, column), ())
                found[row, column] += any(is_in_time(event, seen_s) for seen_s in times_s)
    return Sweep(
        points=points,
        found=found,
        n_events=np.array([_count(label, scored) for label in labels]),
        alarms=alarms,
        hours=np.array([negatives.hours[label] for label in labels]),
    )


def _count(label: str, scored: SceneScores) -> int:
    return sum(event.label == label for events in scored.events for event in events)
