"""Models compared as they listen: composed soundscapes and long negatives, heard step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.calibration.scenes import Fold, Negatives, Rehearsal, fold_sounds, rehearse
from distill.calibration.thresholds import (
    CalibrationConfig,
    choose_events,
    events_without,
    frequent_labels,
    leave_one_out,
    sweep,
)
from distill.data.clip_list import Clip
from distill.data.companions import Company, companions
from distill.data.labels import shared_labels
from distill.evaluation.metrics import Estimate
from distill.evaluation.psds import PSDS1, PSDS2, Intervals, psds
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
    Detection,
    ScoreTrack,
    StreamScorer,
    detect,
    detect_swept,
    open_stream_scorer,
)
from edge_audio.bundle.spec import EventSpec, Spec
from edge_audio.events.sweep import SweptDetector

COLLARS_S = (0.2, 0.5)
N_POINTS = 40
"""Operating points per label of the PSDS."""

_EXCEEDED = (2e-4, 0.3)  # part of the time above the threshold, at the first and last of them


class StreamingModel(Spec, frozen=True):
    """Figures of one model at its thresholds; the PSDS, which varies them, aside. n_on: labels
    that are on, averaged over the folds; sudden: latency of the labels in SUDDEN alone, None
    where none of them is compared."""

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


class StreamingResults(Spec, frozen=True):
    """Scenes that were listened to, and the events that were found in them. n_sounds: different
    clips behind the soundscapes;
    n_negative_sounds: how many sounded in all negatives."""

    config: CalibrationConfig
    labels: tuple[str, ...]
    n_events: int
    n_sounds: int
    n_negative_sounds: int
    models: tuple[StreamingModel, ...]


class Contender(NamedTuple):
    """A listener, what it heard in each fold, and its thresholds there, which were chosen on the
    other folds."""

    listener: StreamScorer
    folds: Sequence[Rehearsal]
    specs: Sequence[EventSpec]


def evaluate_streaming(
    scorers: Sequence[Scorer],
    folder: Path,
    clips: Sequence[Clip],
    scored: Sequence[Clip],
    config: CalibrationConfig | None = None,
) -> StreamingResults:
    """Compares the scorers over the labels that all of them know and that have clips enough.

    Everybody's thresholds are chosen in the same way, for each fold of the `scored` clips on the
    others; a label without threshold finds nothing. `clips` is the whole manifest. Raises
    UsageError if no label is left.
    """
    config = config or CalibrationConfig()
    listeners = [open_stream_scorer(scorer) for scorer in scorers]
    folds = fold_sounds(folder, scored, config.n_folds)
    n_clips = frequent_labels(
        config, shared_labels([listener.labels for listener in listeners]), folds
    )
    return compare(config, listeners, n_clips, folds, companions(clips, tuple(n_clips)))


def compare(
    config: CalibrationConfig,
    listeners: Sequence[StreamScorer],
    n_clips: Mapping[str, int],
    folds: Sequence[Fold],
    company: Company,
) -> StreamingResults:
    """Lets all hear the same scenes, made of the sounds of each fold, and scores them. n_clips:
    of each label that is compared."""
    labels = tuple(n_clips)
    rehearsals = rehearse(listeners, labels, folds, config.scenes, config.seed)
    models = []
    for listener, heard in tracked(list(zip(listeners, rehearsals, strict=True)), "scoring events"):
        specs = cross_fit(config, listener, n_clips, heard, company)
        models.append(_report(Contender(listener, heard, specs), labels, company, config))
    first = rehearsals[0]
    return StreamingResults(
        config=config,
        labels=labels,
        n_events=sum(len(events) for one in first for events in one.events),
        n_sounds=sum(len(fold.bouts) for fold in folds),
        n_negative_sounds=sum(_count_sounds(events) for one in first for events in one.sounds),
        models=tuple(models),
    )


def _count_sounds(events: Sequence[TrueEvent]) -> int:
    """Events of several labels may be one sound."""
    return len({(event.onset_s, event.offset_s) for event in events})


def cross_fit(
    config: CalibrationConfig,
    listener: StreamScorer,
    n_clips: Mapping[str, int],
    heard: Sequence[Rehearsal],
    company: Company,
) -> list[EventSpec]:
    """For each fold the thresholds that are chosen on all others."""
    sweeps = [sweep(config, listener.step_s, tuple(n_clips), one, company) for one in heard]
    return [
        choose_events(config, listener.step_s, n_clips, others)
        for _, others in leave_one_out(sweeps)
    ]


def operating_points(
    streams: Sequence[ScoreTrack],
    labels: Sequence[str],
    config: CalibrationConfig,
    step_s: float,
    lag_s: float,
) -> dict[str, list[Intervals]]:
    """N_POINTS sets of detections of each label, times moved back by lag_s: the same event
    detector with thresholds that the scores exceed ever more often."""
    rows = np.concatenate([stream.scores for stream in streams])
    levels = np.quantile(rows, 1.0 - np.geomspace(*_EXCEEDED, N_POINTS), axis=0)
    detector = SweptDetector(levels.T, events_without(config, step_s), step_s)
    found: list[list[list[tuple[int, float, float]]]] = [
        [[] for _ in range(N_POINTS)] for _ in labels
    ]
    for index, stream in enumerate(streams):
        for row, column, one in detect_swept(stream, detector, labels):
            found[row][column].append((index, one.start_s - lag_s, one.end_s - lag_s))
    return {
        label: [Intervals.of(events) for events in mine]
        for label, mine in zip(labels, found, strict=True)
    }


def _report(
    contender: Contender, labels: Sequence[str], company: Company, config: CalibrationConfig
) -> StreamingModel:
    listener, folds, specs = contender
    lag_s, step_s = listener.lag_s, listener.step_s
    truth = [events for one in folds for events in one.events]
    heard = [stream for one in folds for stream in one.scenes]
    found = [
        events
        for one, spec in zip(folds, specs, strict=True)
        for events in _detect(one.scenes, labels, spec, step_s)
    ]
    true = _true_intervals(truth, labels)
    points = operating_points(heard, labels, config, step_s, lag_s)
    durations_s = [config.scenes.scene_s] * len(truth)
    return StreamingModel(
        name=listener.name,
        step_s=step_s,
        lag_s=lag_s,
        n_on=sum(len(spec.thresholds) for spec in specs) / len(specs),
        event_f1=tuple(
            event_f1(truth, found, labels, collar_s, lag_s, config.seed) for collar_s in COLLARS_S
        ),
        psds1=psds(PSDS1, true, points, durations_s, config.seed),
        psds2=psds(PSDS2, true, points, durations_s, config.seed),
        latency=onset_latency(truth, found),
        sudden=onset_latency(truth, found, SUDDEN) if SUDDEN & set(labels) else None,
        false_alarms=_false_alarms(contender, labels, company, config.max_alarms_per_hour),
    )


def _detect(
    streams: Iterable[ScoreTrack], labels: Sequence[str], spec: EventSpec, step_s: float
) -> list[list[Detection]]:
    return [detect(one, tuple(labels), spec, step_s) for one in streams]


def _false_alarms(
    contender: Contender, labels: Sequence[str], company: Company, budget: float
) -> FalseAlarms:
    """Over all negatives; a label counts for the hours of the folds in which it is on."""
    listener, folds, specs = contender
    alarms: list[str] = []
    hours = dict.fromkeys(labels, 0.0)
    for one, spec in zip(folds, specs, strict=True):
        negatives = Negatives(one.sounds, one.durations_s, company)
        found = _detect(one.negatives, labels, spec, listener.step_s)
        alarms += [
            x.label for i, mine in enumerate(found) for x in mine if negatives.is_false(i, x)
        ]
        for label in spec.thresholds:
            hours[label] += negatives.hours[label]
    heard_h = sum(sum(one.durations_s) for one in folds) / 3600.0
    return false_alarms(alarms, {k: v for k, v in hours.items() if v}, heard_h, budget)


def _true_intervals(
    truth: Sequence[Sequence[TrueEvent]], labels: Sequence[str]
) -> Mapping[str, Intervals]:
    rows: dict[str, list[tuple[int, float, float]]] = {label: [] for label in labels}
    for index, events in enumerate(truth):
        for event in events:
            rows[event.label].append((index, event.onset_s, event.offset_s))
    return {label: Intervals.of(events) for label, events in rows.items()}
