"""Scores a student, its exported bundle and the peers on clips that the student never heard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.special import expit

from distill.data.folders import data_dir
from distill.data.labels import shared_labels
from distill.data.manifest import Clip, read_clip, read_manifest
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
from distill.evaluation.results import ModelReport, Report
from distill.evaluation.streaming import evaluate_streaming
from distill.runs.checkpoints import CHECKPOINT_NAME
from distill.scoring.clips import (
    SAMPLE_RATE_HZ,
    BundleScorer,
    Scorer,
    StudentScorer,
    TeacherScorer,
    YamnetScorer,
)
from distill.teachers import open_teacher
from distill.training.recipe import Recipe
from distill.training.trainer import load_student
from edge_audio.bundle.manifest import MANIFEST_NAME
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.folders import peers_dir

HITS_AT = (1, 5)
N_CURVES = 6
"""Of how many labels the report has precision-recall curves."""

TWINS = (("3-151080-A", "5-151085-A"),)
"""Clips of different groups that are nearly the same recording."""


@dataclass(frozen=True)
class Target:
    """What is to be scored, and the recipe that says what it has heard."""

    name: str
    scorer: Scorer
    recipe: Recipe


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
    paths: Sequence[str], baselines: Collection[str] = (), with_soundscapes: bool = False
) -> Report:
    """Scores checkpoints and bundles, the first of which decides on which clips. baselines: see
    `open_baselines`.

    Raises UsageError for a target that is neither, and EdgeAudioError if any target has heard
    a scored clip in training.
    """
    targets = [target for path in paths for target in open_targets(path)]
    recipe, folder = targets[0].recipe, data_dir()
    clips = read_manifest(folder)
    scored = held_out_clips(recipe, clips)
    for target in targets:
        check_never_heard(target, clips, scored)
    scorers = [target.scorer for target in targets]
    scorers += open_baselines(recipe, baselines)
    results = score_clips(scorers, folder, scored)
    names = tuple(target.name for target in targets)
    report = summarise(names, recipe, clips, scored, results)
    if not with_soundscapes:
        return report
    streaming = evaluate_streaming(scorers, folder, clips, scored)
    return msgspec.structs.replace(report, streaming=streaming)


def open_targets(path: str) -> list[Target]:
    """A bundle (directory or shipped name), or a checkpoint (or its folder) together with the
    bundles that lie beside it."""
    if Path(path).is_dir() and (Path(path) / CHECKPOINT_NAME).is_file():
        path = str(Path(path) / CHECKPOINT_NAME)
    if not Path(path).is_file():
        return [_open_bundle(path)]
    student, recipe = load_student(Path(path))
    scorer = StudentScorer(f"{recipe.name} (step {_read_step(Path(path))})", student)
    beside = sorted(Path(path).parent.glob(f"*/{MANIFEST_NAME}"))
    return [
        Target(path, scorer, recipe),
        *(_open_bundle(str(manifest.parent)) for manifest in beside),
    ]


def _open_bundle(path: str) -> Target:
    bundle = load_bundle(path)
    return Target(path, BundleScorer(bundle), bundle_recipe(bundle))


def bundle_recipe(bundle: Bundle) -> Recipe:
    """The training recipe in the bundle's provenance; EdgeAudioError if there is none."""
    try:
        return msgspec.convert(bundle.manifest.provenance["recipe"], Recipe)
    except (KeyError, msgspec.ValidationError) as error:
        raise EdgeAudioError(
            f"{bundle.path} does not say what it was trained on (provenance.recipe): "
            "export it again with edge-audio quantize"
        ) from error


def _read_step(checkpoint: Path) -> int:
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["step"])


def open_baselines(recipe: Recipe, names: Collection[str]) -> list[Scorer]:
    """Those that are named: teacher, all of the recipe that have labels; yamnet, by its windows
    even if it is a teacher."""
    chosen: list[Scorer] = []
    if "teacher" in names:
        opened = (open_teacher(config, peers_dir()) for config in recipe.teachers)
        chosen += [TeacherScorer(teacher) for teacher in opened if teacher.labels]
    if "yamnet" in names:
        others = [scorer for scorer in chosen if scorer.name.casefold() != "yamnet"]
        chosen = [*others, YamnetScorer(peers_dir())]
    return chosen


def held_out_clips(recipe: Recipe, clips: Sequence[Clip]) -> list[Clip]:
    """What the split keeps out, less the twins of training clips. UsageError if nothing is."""
    train, held_out = recipe.split.divide(clips)
    heard = {Path(clip.path).stem for clip in train}
    twins = {one for pair in TWINS for one in pair if heard & set(pair)}
    scored = [clip for clip in held_out if Path(clip.path).stem not in twins]
    if not scored:
        raise UsageError(f"recipe {recipe.name} holds no clips out: nothing can be scored")
    return scored


def calibration_clips(recipe: Recipe, clips: Sequence[Clip]) -> list[Clip]:
    """What thresholds are chosen on: of the held-out clips those of tiers that it may use."""
    return [clip for clip in held_out_clips(recipe, clips) if clip.tier in recipe.split.tiers]


def check_never_heard(target: Target, clips: Sequence[Clip], scored: Sequence[Clip]) -> None:
    """Raises EdgeAudioError if a scored clip, or another clip of its group, was trained on."""
    heard = {clip.group for clip in target.recipe.split.divide(clips)[0]}
    leaks = [clip.path for clip in scored if clip.group in heard]
    if leaks:
        raise EdgeAudioError(
            f"{target.name} has heard {len(leaks)} of {len(scored)} clips in training, such as "
            f"{leaks[0]}: score it by itself"
        )


def score_clips(
    scorers: Sequence[Scorer], folder: Path, clips: Sequence[Clip]
) -> list[ModelScores]:
    """Decodes every clip once and lets every scorer hear it."""
    results = [
        ModelScores(scorer.name, scorer.labels, isinstance(scorer, TeacherScorer))
        for scorer in scorers
    ]
    for clip in track(clips, description="scoring clips", console=Console(stderr=True)):
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
) -> Report:
    """All figures of all models, over the labels that every model knows."""
    names = shared_labels([result.labels for result in results])
    listed = label_matrix(scored, names)
    teacher = next((result for result in results if result.is_teacher), None)
    progress = track(results, description="fitting regressions", console=Console(stderr=True))
    models = tuple(
        _report_model(result, teacher, scored, names, listed, recipe.seed) for result in progress
    )
    esc = [clip for clip in scored if clip.is_esc]
    return Report(
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
    """[n_clips, n_names]: whether the manifest lists the label."""
    column = {name: index for index, name in enumerate(names)}
    listed = np.zeros((len(clips), len(names)), bool)
    for row, clip in enumerate(clips):
        listed[row, [column[label] for label in clip.labels if label in column]] = True
    return listed


def _report_model(
    result: ModelScores,
    teacher: ModelScores | None,
    clips: Sequence[Clip],
    names: Sequence[str],
    listed: NDArray[np.bool_],
    seed: int,
) -> ModelReport:
    scores = result.of_labels(names)
    groups = [clip.group for clip in clips]
    labelled = np.flatnonzero(listed.any(1))
    ours, true, kept = scores[labelled], listed[labelled], [groups[row] for row in labelled]
    frequent = np.argsort(-true.sum(0), kind="stable")[:N_CURVES].tolist()
    return ModelReport(
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
    """Over the clips that have a label, all of them and by origin; empty sets are left out."""
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
    """Over the clips with a class, for each kind of features; nothing unless all five official
    folds are held out."""
    rows = [index for index, clip in enumerate(clips) if class_of(clip)]
    classes = [class_of(clips[row]) for row in rows]
    folds = [clips[row].fold for row in rows]
    if len(set(folds)) < 5:
        return {}
    return {
        name: cross_validate(np.stack(values)[rows], classes, folds)
        for name, values in result.features.items()
    }


def write_report(report: Report, folder: Path, arguments: Sequence[str] = ()) -> None:
    """Writes metrics.json and its figures (see `figures.draw`) into `folder`."""
    from distill.evaluation.figures import draw

    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "command": list(arguments or sys.argv),
        **msgspec.to_builtins(report),
    }
    (folder / "metrics.json").write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    draw(report, folder)
