"""Models compared as they listen: composed soundscapes and long negatives, heard step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track

from distill.data import Clip, read_clip
from distill.listeners import Detection, Listener, ScoreStream, detect, open_listener
from distill.metrics import Estimate
from distill.psds import PSDS1, PSDS2, Intervals, psds
from distill.scorers import SAMPLE_RATE_HZ, BundleScorer, Scorer
from distill.soundscapes import (
    Scene,
    Sound,
    SoundscapeConfig,
    TrueEvent,
    negative_clips,
    negatives,
    read_sounds,
    soundscapes,
)
from distill.streaming_metrics import (
    EventF1,
    FalseAlarms,
    Latency,
    event_f1,
    false_alarms,
    onset_latency,
)
from distill.thresholds import CalibrationConfig, calibrate
from edge_audio.errors import UsageError
from edge_audio.events import HYSTERESIS
from edge_audio.spec import EventSpec, Spec, Threshold

COLLARS_S = (0.2, 0.5)
N_POINTS = 40
"""Operating points per label of the PSDS."""

_EXCEEDED = (2e-4, 0.3)  # part of the time above the threshold, at the first and last of them


class StreamingModel(Spec, frozen=True):
    """Figures of one model at its thresholds; the PSDS, which varies them, aside."""

    name: str
    step_s: float
    lag_s: float
    event_f1: tuple[EventF1, ...]
    psds1: Estimate
    psds2: Estimate
    latency: Latency
    false_alarms: FalseAlarms


class StreamingReport(Spec, frozen=True):
    """What was heard and found. n_sounds, n_negative_clips: different clips behind it;
    n_calibration_clips: what thresholds were chosen on where a model came without."""

    config: SoundscapeConfig
    labels: tuple[str, ...]
    n_events: int
    n_sounds: int
    n_negative_clips: int
    n_calibration_clips: int
    models: tuple[StreamingModel, ...]


class Contender(NamedTuple):
    """A listener, and its thresholds of the labels that are compared, alike for all."""

    listener: Listener
    spec: EventSpec

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that are compared, in the order of the columns of `hear`."""
        return tuple(self.spec.thresholds)

    def hear(self, scene: Scene) -> ScoreStream:
        """The scores of the compared labels."""
        times_s, scores = self.listener.stream(scene.samples)
        columns = [self.listener.labels.index(label) for label in self.labels]
        return ScoreStream(times_s, scores[:, columns])

    def detect(self, streams: Iterable[ScoreStream]) -> list[list[Detection]]:
        """The events of every stream."""
        return [detect(one, self.labels, self.spec, self.listener.step_s) for one in streams]


def evaluate_streaming(
    scorers: Sequence[Scorer],
    folder: Path,
    clips: Sequence[Clip],
    scored: Sequence[Clip],
    calibration: Sequence[Clip],
    seed: int,
    config: SoundscapeConfig | None = None,
) -> StreamingReport:
    """Compares the scorers over the labels for which all of them have thresholds.

    Bundles keep their own thresholds; all others get theirs from the `calibration` clips in the
    same way. Soundscapes and negatives are made of `scored`; `clips` is the whole manifest.
    Raises UsageError if no label is left.
    """
    config = config or SoundscapeConfig()
    listeners = [open_listener(scorer) for scorer in scorers]
    specs = [
        _thresholds(scorer, listener, folder, calibration)
        for scorer, listener in zip(scorers, listeners, strict=True)
    ]
    labels = shared_labels(specs, scored)
    sounds = read_sounds(folder, [c for c in scored if set(labels) & set(c.labels)], labels)
    others = read_sounds(folder, negative_clips(scored, clips, labels), ())
    contenders = [
        Contender(listener, _only(spec, labels))
        for listener, spec in zip(listeners, specs, strict=True)
    ]
    n_events, models = compare(contenders, sounds, others, config, seed)
    return StreamingReport(
        config=config,
        labels=labels,
        n_events=n_events,
        n_sounds=len(sounds),
        n_negative_clips=len(others),
        n_calibration_clips=len(calibration),
        models=models,
    )


def compare(
    contenders: Sequence[Contender],
    sounds: Sequence[Sound],
    others: Sequence[Sound],
    config: SoundscapeConfig,
    seed: int,
) -> tuple[int, tuple[StreamingModel, ...]]:
    """Lets all hear the same scenes, made of `sounds` and, for the negatives, `others`; returns
    the number of events and the figures of each contender."""
    scenes = _track(soundscapes(config, sounds, seed), "soundscapes", config.n_scenes)
    truth, heard = _listen(contenders, scenes)
    quiet_scenes = _track(negatives(config, others, seed), "negatives", config.n_negatives)
    _, quiet = _listen(contenders, quiet_scenes)
    rows = zip(_track(contenders, "scoring events"), heard, quiet, strict=True)
    models = tuple(_report(one, truth, mine, alarms, config, seed) for one, mine, alarms in rows)
    return sum(map(len, truth)), models


def _listen(
    contenders: Sequence[Contender], scenes: Iterable[Scene]
) -> tuple[list[tuple[TrueEvent, ...]], list[list[ScoreStream]]]:
    """The true events of every scene, and the streams of every contender, scene by scene."""
    truth: list[tuple[TrueEvent, ...]] = []
    heard: list[list[ScoreStream]] = [[] for _ in contenders]
    for scene in scenes:
        truth.append(scene.events)
        for contender, streams in zip(contenders, heard, strict=True):
            streams.append(contender.hear(scene))
    return truth, heard


def shared_labels(specs: Sequence[EventSpec], clips: Sequence[Clip]) -> tuple[str, ...]:
    """Labels with a threshold in every spec and a clip to find them in, in order of the first.
    UsageError if there are none."""
    occurring = {label for clip in clips for label in clip.labels}
    labels = tuple(
        label
        for label in specs[0].thresholds
        if label in occurring and all(label in spec.thresholds for spec in specs)
    )
    if not labels:
        raise UsageError("no label has a threshold in all models: soundscapes need at least one")
    return labels


def operating_points(
    streams: Sequence[ScoreStream],
    labels: Sequence[str],
    spec: EventSpec,
    step_s: float,
    lag_s: float,
) -> dict[str, list[Intervals]]:
    """N_POINTS sets of detections of each label, times moved back by lag_s: the same event
    detector with thresholds that the scores exceed ever more often."""
    rows = np.concatenate([stream.scores for stream in streams])
    levels = np.quantile(rows, 1.0 - np.geomspace(*_EXCEEDED, N_POINTS), axis=0)
    names = [f"{point} {label}" for label in labels for point in range(N_POINTS)]
    swept = msgspec.structs.replace(
        spec, thresholds=dict(zip(names, map(_threshold, levels.T.ravel().tolist()), strict=True))
    )
    found: dict[str, list[tuple[int, float, float]]] = {name: [] for name in names}
    for index, (times_s, scores) in enumerate(streams):
        repeated = ScoreStream(times_s, np.repeat(scores, N_POINTS, axis=1))
        for one in detect(repeated, tuple(names), swept, step_s):
            found[one.label].append((index, one.start_s - lag_s, one.end_s - lag_s))
    return {
        label: [Intervals.of(found[f"{point} {label}"]) for point in range(N_POINTS)]
        for label in labels
    }


def _threshold(on: float) -> Threshold:
    on = min(max(on, 1e-6), 1.0)
    return Threshold.unmeasured(on, HYSTERESIS * on)


def _thresholds(
    scorer: Scorer, listener: Listener, folder: Path, clips: Sequence[Clip]
) -> EventSpec:
    if isinstance(scorer, BundleScorer) and scorer.events.thresholds:
        return scorer.events
    samples = (read_clip(folder / clip.path, SAMPLE_RATE_HZ) for clip in clips)
    return calibrate(CalibrationConfig(), listener, samples, clips)


def _only(spec: EventSpec, labels: Sequence[str]) -> EventSpec:
    return msgspec.structs.replace(
        spec, thresholds={label: spec.thresholds[label] for label in labels}
    )


def _report(
    contender: Contender,
    truth: Sequence[Sequence[TrueEvent]],
    heard: Sequence[ScoreStream],
    quiet: Sequence[ScoreStream],
    config: SoundscapeConfig,
    seed: int,
) -> StreamingModel:
    labels, lag_s, step_s = contender.labels, contender.listener.lag_s, contender.listener.step_s
    found = contender.detect(heard)
    true = _true_intervals(truth, labels)
    points = operating_points(heard, labels, contender.spec, step_s, lag_s)
    durations_s = [config.scene_s] * len(truth)
    hours = config.n_negatives * config.negative_s / 3600.0
    return StreamingModel(
        name=contender.listener.name,
        step_s=step_s,
        lag_s=lag_s,
        event_f1=tuple(
            event_f1(truth, found, labels, collar_s, lag_s, seed) for collar_s in COLLARS_S
        ),
        psds1=psds(PSDS1, true, points, durations_s, seed),
        psds2=psds(PSDS2, true, points, durations_s, seed),
        latency=onset_latency(truth, found),
        false_alarms=false_alarms(contender.detect(quiet), labels, hours),
    )


def _true_intervals(
    truth: Sequence[Sequence[TrueEvent]], labels: Sequence[str]
) -> Mapping[str, Intervals]:
    rows: dict[str, list[tuple[int, float, float]]] = {label: [] for label in labels}
    for index, events in enumerate(truth):
        for event in events:
            rows[event.label].append((index, event.onset_s, event.offset_s))
    return {label: Intervals.of(events) for label, events in rows.items()}


def _track(items: Iterable, description: str, total: int | None = None) -> Iterable:
    console = Console(stderr=True)
    return track(items, description, total=total, console=console, transient=True)
