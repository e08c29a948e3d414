"""Clips that were never heard in training, scored by students, bundles and peers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from distill.data.audio import read_clip
from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.data.labels import shared_labels
from distill.evaluation.held_out import held_out_clips
from distill.evaluation.lineage import lineage_of
from distill.evaluation.metrics import (
    REGRESSION_C,
    Estimate,
    FoldAccuracy,
    agreement,
    average_precision,
    cross_validate,
    d_prime,
    hit_at,
    lwlrap,
    precision_at_recalls,
    reliability,
)
from distill.evaluation.models import open_models, open_peers
from distill.evaluation.results import HITS_AT, ClipResults, ModelResults
from distill.evaluation.streaming import evaluate_streaming
from distill.progress import tracked
from distill.scoring.clips import SAMPLE_RATE_HZ, Scorer, TeacherScorer
from distill.training.recipe import Recipe
from edge_audio.errors import UsageError

N_CURVES = 6
"""Of how many labels the report has precision-recall curves."""


@dataclass
class ModelScores:
    """One row per clip: scores f32[n, n_labels], each of features f32[n, D]."""

    name: str
    labels: tuple[str, ...]
    is_teacher: bool = False
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    features: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)

    def add(self, scorer: Scorer, samples: NDArray[np.float32]) -> None:
        clip = scorer.score(samples)
        self.scores.append(clip.scores)
        for name, value in clip.features.items():
            self.features.setdefault(name, []).append(value)

    def of_labels(self, names: Sequence[str]) -> NDArray[np.float32]:
        """f32[n, n_names]: the scores of these labels."""
        return np.stack(self.scores)[:, [self.labels.index(name) for name in names]]


def evaluate(
    paths: Sequence[str],
    peers: Collection[str] = (),
    with_soundscapes: bool = False,
    with_bundles: bool = False,
) -> ClipResults:
    """Scores checkpoints and bundles, the first of which decides on which clips. peers: see
    `open_peers`. with_bundles: see `open_models`.

    Raises UsageError for a path that is neither, and EdgeAudioError if any of the models has
    heard a scored clip in training.
    """
    models = [model for path in paths for model in open_models(path, with_bundles)]
    recipe, clip_list = models[0].recipe, named_clip_list()
    clips, folder = read_clip_list(clip_list), clip_list.parent
    scored = held_out_clips(recipe, clips)
    for model in models:
        lineage = lineage_of(model.name, model.recipe)
        lineage.require_unheard(clips, scored, advice="score it by itself")
    scorers = [model.scorer for model in models]
    scorers += open_peers(recipe, peers)
    known = set(shared_labels([scorer.labels for scorer in scorers]))
    if not any(known.intersection(clip.labels) for clip in scored):
        raise UsageError(
            f"none of the {len(scored)} held-out clips has a label that all models know: "
            "list their labels"
        )
    found = score_clips(scorers, folder, scored)
    results = summarise(tuple(model.name for model in models), recipe, clips, scored, found)
    if not with_soundscapes:
        return results
    streaming = evaluate_streaming(scorers, folder, clips, scored)
    return msgspec.structs.replace(results, streaming=streaming)


def score_clips(
    scorers: Sequence[Scorer], folder: Path, clips: Sequence[Clip]
) -> list[ModelScores]:
    """Decodes every clip once and lets every scorer hear it."""
    results = [
        ModelScores(scorer.name, scorer.labels, isinstance(scorer, TeacherScorer))
        for scorer in scorers
    ]
    for clip in tracked(clips, "scoring clips"):
        samples = read_clip(folder / clip.path, SAMPLE_RATE_HZ)
        for scorer, result in zip(scorers, results, strict=True):
            result.add(scorer, samples)
    return results


def summarise(
    targets: tuple[str, ...],
    recipe: Recipe,
    clips: Sequence[Clip],
    scored: Sequence[Clip],
    results: Sequence[ModelScores],
) -> ClipResults:
    """All figures of all models, over the labels that every model knows."""
    names = shared_labels([result.labels for result in results])
    listed = label_matrix(scored, names)
    teacher = next((result for result in results if result.is_teacher), None)
    models = tuple(
        _figures_of(result, teacher, scored, names, listed, recipe.seed)
        for result in tracked(results, "fitting regressions")
    )
    esc = [clip for clip in scored if clip.is_esc]
    return ClipResults(
        targets=targets,
        recipe=recipe.name,
        n_training_clips=len(recipe.split.divide(clips)[0]),
        n_clips=len(scored),
        n_groups=len({clip.group for clip in scored}),
        n_esc_clips=len(esc),
        n_unlabelled=int((~listed.any(1)).sum()),
        n_labels=len(names),
        regression_c=REGRESSION_C,
        models=models,
    )


def label_matrix(clips: Sequence[Clip], names: Sequence[str]) -> NDArray[np.bool_]:
    """[n_clips, n_names]: whether the clip list has the label."""
    column = {name: index for index, name in enumerate(names)}
    listed = np.zeros((len(clips), len(names)), bool)
    for row, clip in enumerate(clips):
        listed[row, [column[label] for label in clip.labels if label in column]] = True
    return listed


def _figures_of(
    result: ModelScores,
    teacher: ModelScores | None,
    clips: Sequence[Clip],
    names: Sequence[str],
    listed: NDArray[np.bool_],
    seed: int,
) -> ModelResults:
    scores = result.of_labels(names)
    groups = [clip.group for clip in clips]
    labelled = np.flatnonzero(listed.any(1))
    ours, true, kept = scores[labelled], listed[labelled], [groups[row] for row in labelled]
    frequent = np.argsort(-true.sum(0), kind="stable")[:N_CURVES].tolist()
    return ModelResults(
        name=result.name,
        esc50=_cross_validate(result, clips, lambda clip: clip.esc50_class),
        esc10=_cross_validate(result, clips, lambda clip: clip.esc10_class),
        hits=_hits(scores, listed, np.array([clip.is_esc for clip in clips])),
        average_precision=average_precision(ours, true, names, kept, seed),
        d_prime=d_prime(ours, true, kept, seed),
        lwlrap=lwlrap(ours, true, kept, seed),
        agreement=agreement(teacher.name, scores, teacher.of_labels(names), groups, seed)
        if teacher is not None and teacher is not result
        else None,
        precision={
            names[c]: precision_at_recalls(ours[:, c], true[:, c])
            for c in frequent
            if true[:, c].any()
        },
        reliability=reliability(expit(ours) if result.is_teacher else ours, true),
    )


def _hits(
    scores: NDArray[np.float32], listed: NDArray[np.bool_], is_esc: NDArray[np.bool_]
) -> dict[str, tuple[Estimate, ...]]:
    """hit@k over the clips that have a label: all of them, and by origin; empty sets are left
    out."""
    labelled = listed.any(1)
    subsets = {"all": labelled, "ESC": labelled & is_esc, "other": labelled & ~is_esc}
    return {
        name: tuple(hit_at(k, scores[rows], listed[rows]) for k in HITS_AT)
        for name, rows in subsets.items()
        if rows.any()
    }


def _cross_validate(
    result: ModelScores, clips: Sequence[Clip], class_of: Callable[[Clip], str]
) -> dict[str, FoldAccuracy]:
    """Accuracy over the clips with a class, for each kind of features; nothing unless all five
    official folds are held out."""
    rows = [index for index, clip in enumerate(clips) if class_of(clip)]
    classes = [class_of(clips[row]) for row in rows]
    folds = [clips[row].fold for row in rows]
    if len(set(folds)) < 5:
        return {}
    return {
        name: cross_validate(np.stack(values)[rows], classes, folds)
        for name, values in result.features.items()
    }
