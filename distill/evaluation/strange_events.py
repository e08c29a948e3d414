"""Events of single clips of strange places, by thresholds that other recordings chose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from distill.calibration.clip_evidence import hear_files
from distill.calibration.prices import choose_by_price, reported_left_out
from distill.calibration.thresholds import CalibrationConfig, candidates, events_without
from distill.data.clip_list import Clip, read_clip_list
from distill.data.companions import Companions, find_companions
from distill.data.folders import named_clip_list
from distill.data.labels import shared_labels
from distill.data.strange import strange_source
from distill.evaluation.events import ClipEvents, EventResults, summarise_events
from distill.evaluation.held_out import held_out_clips
from distill.evaluation.lineage import lineage_of
from distill.evaluation.models import ScoredModel, open_models, open_peers
from distill.evaluation.strange import examine, strange_places
from distill.scoring.streams import StreamScorer, open_stream_scorer
from edge_audio.bundle.spec import Sensitivity, Spec
from edge_audio.errors import UsageError


class StrangeEvents(Spec, frozen=True):
    """held_out: all clips that the first model's recipe holds out. strange: those of them from
    strange places."""

    held_out: EventResults
    strange: EventResults


def evaluate_strange_events(
    paths: Sequence[str], peers: Collection[str], sensitivity: Sensitivity
) -> StrangeEvents:
    """Lets checkpoints, bundles and peers hear all clips that the recipe of the first holds out,
    each clip as a stream. The thresholds of everybody are chosen by the share of wrong clips at
    the sensitivity, for each fold of the recordings by the others.

    Raises EdgeAudioError if a model has heard one of the clips, and UsageError if none is of a
    strange place that nobody has heard.
    """
    models = [model for path in paths for model in open_models(path)]
    clip_list = named_clip_list()
    clips, recipe = read_clip_list(clip_list), models[0].recipe
    scored = [clip for clip in held_out_clips(recipe, clips) if clip.labels]
    for model in models:
        lineage = lineage_of(model.name, model.recipe)
        lineage.require_unheard(clips, scored, advice="score it by itself")
    sources = unheard_sources(models, clips)
    is_strange = [strange_source(clip) in sources for clip in scored]
    scorers = [open_stream_scorer(one.scorer) for one in models]
    scorers += [open_stream_scorer(one) for one in open_peers(recipe, peers)]
    labels = judged_labels(shared_labels([one.labels for one in scorers]), scored)
    companions = find_companions(clips, labels)
    found = [
        _events_of(one, sensitivity, labels, clip_list.parent, scored, is_strange, companions)
        for one in scorers
    ]
    return StrangeEvents(
        held_out=EventResults(models=tuple(both[0] for both in found)),
        strange=EventResults(models=tuple(both[1] for both in found)),
    )


def unheard_sources(models: Sequence[ScoredModel], clips: Sequence[Clip]) -> set[str]:
    """The strange sources that none of the models, nor its lineage, has heard. Raises UsageError if
    there is none."""
    known = {label for model in models for label in model.scorer.labels}
    places = strange_places(clips, sorted(known))
    heard = {source for model in models for source in examine(model, clips, places).heard}
    if not (sources := places.keys() - heard):
        raise UsageError("the models have heard every strange source, one or the other: score each")
    return set(sources)


def judged_labels(labels: Sequence[str], clips: Sequence[Clip]) -> tuple[str, ...]:
    """Labels with recordings enough."""
    recordings: Mapping[str, set[str]] = defaultdict(set)
    for clip in clips:
        for label in clip.labels:
            recordings[label].add(clip.group)
    least = CalibrationConfig().min_positives
    return tuple(label for label in labels if len(recordings[label]) >= least)


def _events_of(
    scorer: StreamScorer,
    sensitivity: Sensitivity,
    labels: Sequence[str],
    folder: Path,
    clips: Sequence[Clip],
    is_strange: Sequence[bool],
    companions: Companions,
) -> tuple[ClipEvents, ClipEvents]:
    """Of all clips, and of the strange ones."""
    reported = report_left_out(scorer, sensitivity, labels, folder, clips)
    rows = np.flatnonzero(is_strange).tolist()
    strange, of_strange = [clips[row] for row in rows], [reported[row] for row in rows]
    return (
        summarise_events(scorer.name, sensitivity, clips, reported, companions),
        summarise_events(scorer.name, sensitivity, strange, of_strange, companions),
    )


def report_left_out(
    scorer: StreamScorer,
    sensitivity: Sensitivity,
    labels: Sequence[str],
    folder: Path,
    clips: Sequence[Clip],
) -> list[set[str]]:
    """What is reported of each clip, by thresholds that other folds of the recordings choose."""
    config = CalibrationConfig()
    spec = events_without(config, scorer.step_s)
    evidence = hear_files(scorer, labels, folder, clips, config.n_folds, spec)
    lowest: list[int | None] = [0] * len(labels)
    points = candidates(config)
    _, left_out = choose_by_price(
        points, evidence, (lowest, [lowest] * config.n_folds), config.wrong_share(sensitivity)
    )
    reported = reported_left_out(points, evidence, left_out)
    return [{labels[column] for column in np.flatnonzero(row).tolist()} for row in reported]
