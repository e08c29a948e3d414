"""Models compared as they listen: composed soundscapes and long negatives, heard step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.calibration.scenes import Fold, Negatives, SceneScores, fold_sounds, score_scenes
from distill.calibration.thresholds import (
    CalibrationConfig,
    choose_events,
    choose_pairs,
    events_without,
    frequent_labels,
    leave_one_out,
    run_sweeps,
)
from distill.data.clip_list import Clip
from distill.data.companions import Companions, find_companions
from distill.data.labels import shared_labels
from distill.evaluation.metrics import Estimate
from distill.evaluation.psds import PSDS1, PSDS2, Segments, psds
from distill.evaluation.streaming_metrics import (
    SUDDEN,
    EventF1,
    FalseAlarms,
    Latency,
    event_f1,
    false_alarms,
    onset_latency,
)
from distill.mixing.soundscapes import TrueEvent
from distill.progress import tracked
from distill.scoring.clips import Scorer
from distill.scoring.streams import (
    ScoreTrack,
    Segment,
    StreamScorer,
    find_segments,
    open_stream_scorer,
    swept_segments,
)
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity, Spec
from edge_audio.events.operating_points import ALARMS_PER_HOUR
from edge_audio.events.sweep import SweptDetector

COLLARS_S = (0.2, 0.5)
N_PSDS_POINTS = 40
"""Operating points per label of the PSDS."""

_EXCEEDED = (2e-4, 0.3)  # part of the time above the threshold, at the first and last of them


class AtSensitivity(Spec, frozen=True):
    """What the thresholds of a sensitivity bring. n_on: labels that are on, averaged over the
    folds; found: share of the events; alarms_each: false ones per hour and label that is on."""

    sensitivity: Sensitivity
    n_on: float
    found: Estimate
    alarms_each: Estimate


class StreamingModel(Spec, frozen=True):
    """Figures of one model at its thresholds for `normal`; the PSDS, which varies them, and
    `others`, of the other sensitivities, aside. n_on: labels that are on, averaged over the
    folds; sudden: latency of the labels in SUDDEN alone, None where none of them is compared."""

    name: str
    step_s: float
    lag_s: float
    n_on: float
    event_f1: tuple[EventF1, ...]
    psds1: Estimate
    psds2: Estimate
    latency: Latency
    sudden: Latency | None
    false_alarms: FalseAlarms
    others: tuple[AtSensitivity, ...] = ()


class StreamingResults(Spec, frozen=True):
    """Scenes that were listened to, and the events that were found in them. n_sounds: different
    clips behind the soundscapes; n_negative_sounds: how many sounded in all negatives."""

    config: CalibrationConfig
    labels: tuple[str, ...]
    n_events: int
    n_sounds: int
    n_negative_sounds: int
    models: tuple[StreamingModel, ...]


class FittedScorer(NamedTuple):
    """A scorer, what it heard in each fold, and its thresholds there, which were chosen on the
    other folds."""

    scorer: StreamScorer
    folds: Sequence[SceneScores]
    specs: Sequence[EventSpec]

    def at_sensitivity(self, sensitivity: Sensitivity) -> FittedScorer:
        return self._replace(specs=[spec.at_sensitivity(sensitivity) for spec in self.specs])

    def n_on(self) -> float:
        """Labels that are on, averaged over the folds."""
        return sum(len(spec.thresholds) for spec in self.specs) / len(self.specs)

    def found(self, labels: Sequence[str]) -> list[list[Segment]]:
        """What is reported in each scene of all folds."""
        return [
            events
            for one, spec in zip(self.folds, self.specs, strict=True)
            for events in _segments(one.scenes, labels, spec, self.scorer.step_s)
        ]


def evaluate_streaming(
    scorers: Sequence[Scorer],
    folder: Path,
    clips: Sequence[Clip],
    scored: Sequence[Clip],
    config: CalibrationConfig | None = None,
) -> StreamingResults:
    """Compares the scorers over the labels that all of them know and that have clips enough.

    Everybody's thresholds are chosen in the same way, for each fold of the `scored` clips on the
    others; a label without threshold finds nothing. `clips` is the whole clip list. Raises
    UsageError if no label is left.
    """
    config = config or CalibrationConfig()
    listening = [open_stream_scorer(scorer) for scorer in scorers]
    folds = fold_sounds(folder, scored, config.n_folds)
    n_clips = frequent_labels(config, shared_labels([scorer.labels for scorer in listening]), folds)
    return compare(config, listening, n_clips, folds, find_companions(clips, tuple(n_clips)))


def compare(
    config: CalibrationConfig,
    scorers: Sequence[StreamScorer],
    n_clips: Mapping[str, int],
    folds: Sequence[Fold],
    companions: Companions,
) -> StreamingResults:
    """Lets all hear the same scenes, made of the sounds of each fold, and scores them. n_clips:
    of each label that is compared."""
    labels = tuple(n_clips)
    scored = score_scenes(scorers, labels, folds, config.scenes, config.seed)
    models = []
    for scorer, heard in tracked(list(zip(scorers, scored, strict=True)), "scoring events"):
        specs = cross_fit(config, scorer, n_clips, heard, companions)
        models.append(_figures_of(FittedScorer(scorer, heard, specs), labels, companions, config))
    first = scored[0]
    return StreamingResults(
        config=config,
        labels=labels,
        n_events=sum(len(events) for one in first for events in one.events),
        n_sounds=sum(len(fold.bouts) for fold in folds),
        n_negative_sounds=sum(_count_sounds(events) for one in first for events in one.sounds),
        models=tuple(models),
    )


def _count_sounds(events: Sequence[TrueEvent]) -> int:
    """How many sounds the events are of: events of several labels may be one sound."""
    return len({(event.onset_s, event.offset_s) for event in events})


def cross_fit(
    config: CalibrationConfig,
    scorer: StreamScorer,
    n_clips: Mapping[str, int],
    heard: Sequence[SceneScores],
    companions: Companions,
) -> list[EventSpec]:
    """For each fold the thresholds that are chosen on all others."""
    sweeps = list(run_sweeps(config, scorer.step_s, tuple(n_clips), heard, companions))
    return [
        choose_events(config, scorer.step_s, n_clips, others, choose_pairs(config, n_clips, others))
        for _, others in leave_one_out(sweeps)
    ]


def operating_points(
    tracks: Sequence[ScoreTrack],
    labels: Sequence[str],
    config: CalibrationConfig,
    step_s: float,
    lag_s: float,
) -> dict[str, list[Segments]]:
    """N_PSDS_POINTS sets of segments of each label, times moved back by lag_s: found by the same
    event detector, with thresholds that the scores exceed ever more often."""
    rows = np.concatenate([track.scores for track in tracks])
    levels = np.quantile(rows, 1.0 - np.geomspace(*_EXCEEDED, N_PSDS_POINTS), axis=0)
    detector = SweptDetector(levels.T, events_without(config, step_s), step_s)
    found: list[list[list[tuple[int, float, float]]]] = [
        [[] for _ in range(N_PSDS_POINTS)] for _ in labels
    ]
    for index, track in enumerate(tracks):
        for row, column, one in swept_segments(track, detector, labels):
            found[row][column].append((index, one.start_s - lag_s, one.end_s - lag_s))
    return {
        label: [Segments.of(events) for events in mine]
        for label, mine in zip(labels, found, strict=True)
    }


def _figures_of(
    fitted: FittedScorer, labels: Sequence[str], companions: Companions, config: CalibrationConfig
) -> StreamingModel:
    scorer, folds, _ = fitted
    lag_s, step_s = scorer.lag_s, scorer.step_s
    truth = [events for one in folds for events in one.events]
    heard = [track for one in folds for track in one.scenes]
    found = fitted.found(labels)
    true = _true_segments(truth, labels)
    points = operating_points(heard, labels, config, step_s, lag_s)
    durations_s = [config.scenes.scene_s] * len(truth)
    return StreamingModel(
        name=scorer.name,
        step_s=step_s,
        lag_s=lag_s,
        n_on=fitted.n_on(),
        event_f1=tuple(
            event_f1(truth, found, labels, collar_s, lag_s, config.seed) for collar_s in COLLARS_S
        ),
        psds1=psds(PSDS1, true, points, durations_s, config.seed),
        psds2=psds(PSDS2, true, points, durations_s, config.seed),
        latency=onset_latency(truth, found),
        sudden=onset_latency(truth, found, SUDDEN) if SUDDEN & set(labels) else None,
        false_alarms=_false_alarms(fitted, labels, companions, config.max_alarms_per_hour),
        others=tuple(
            _at_sensitivity(x, fitted.at_sensitivity(x), truth, labels, companions)
            for x in SENSITIVITIES
            if x != "normal"
        ),
    )


def _at_sensitivity(
    sensitivity: Sensitivity,
    fitted: FittedScorer,
    truth: Sequence[Sequence[TrueEvent]],
    labels: Sequence[str],
    companions: Companions,
) -> AtSensitivity:
    budget = ALARMS_PER_HOUR[sensitivity]
    return AtSensitivity(
        sensitivity=sensitivity,
        n_on=fitted.n_on(),
        found=onset_latency(truth, fitted.found(labels)).found,
        alarms_each=_false_alarms(fitted, labels, companions, budget).each,
    )


def _segments(
    tracks: Iterable[ScoreTrack], labels: Sequence[str], spec: EventSpec, step_s: float
) -> list[list[Segment]]:
    return [find_segments(one, tuple(labels), spec, step_s) for one in tracks]


def _false_alarms(
    fitted: FittedScorer, labels: Sequence[str], companions: Companions, budget: float
) -> FalseAlarms:
    """False alarms over all negatives; a label counts for the hours of the folds in which it is
    on."""
    scorer, folds, specs = fitted
    alarms: list[str] = []
    hours = dict.fromkeys(labels, 0.0)
    for one, spec in zip(folds, specs, strict=True):
        negatives = Negatives(one.sounds, one.durations_s, companions)
        found = _segments(one.negatives, labels, spec, scorer.step_s)
        alarms += [
            x.label for i, mine in enumerate(found) for x in mine if negatives.is_false(i, x)
        ]
        for label in spec.thresholds:
            hours[label] += negatives.hours[label]
    heard_h = sum(sum(one.durations_s) for one in folds) / 3600.0
    return false_alarms(alarms, {k: v for k, v in hours.items() if v}, heard_h, budget)


def _true_segments(
    truth: Sequence[Sequence[TrueEvent]], labels: Sequence[str]
) -> Mapping[str, Segments]:
    rows: dict[str, list[tuple[int, float, float]]] = {label: [] for label in labels}
    for index, events in enumerate(truth):
        for event in events:
            rows[event.label].append((index, event.onset_s, event.offset_s))
    return {label: Segments.of(events) for label, events in rows.items()}
