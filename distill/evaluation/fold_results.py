"""What fold-wise fine-tuning gives: accuracies with confidence intervals, and confusions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.data.clip_list import Clip
from distill.evaluation.held_out import TWINS
from distill.evaluation.metrics import Estimate, wilson
from edge_audio.bundle.spec import Spec

FOLDS = (1, 2, 3, 4, 5)

LEAKY_GROUPS = ("fs:131943", "fs:209698", "fs:134049", "fs:234879", "fs:14262")
"""Recordings that the official folds share among them."""


class FoldScores(NamedTuple):
    """Of one fold's clips: their positions in the clip list, and clip logits f32[n, C] of the
    float student and of its int8 bundle."""

    positions: NDArray[np.int64]
    student: NDArray[np.float32]
    bundle: NDArray[np.float32]


class FoldAccuracies(Spec, frozen=True):
    """Accuracies of one way of running the five students. leak_aware: without the clips whose
    recording is in several folds."""

    esc50: Estimate
    esc50_folds: tuple[float, ...]
    esc50_leak_aware: Estimate
    esc10: Estimate
    esc10_leak_aware: Estimate


class FoldResults(Spec, frozen=True):
    """What `evaluate --folds` measured. confusion[i][j]: clips of class i that the bundles took
    for class j; held_out_groups[k]: the recordings that the student of fold k + 1 never heard, but
    for those that several folds share."""

    checkpoint: str
    recipe: str
    held_out_groups: tuple[tuple[str, ...], ...]
    n_leaky_clips: int
    bundle: FoldAccuracies
    student: FoldAccuracies
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


def summarise(
    checkpoint: str,
    recipe: str,
    clip_list: Sequence[Clip],
    classes: tuple[str, ...],
    scores: Sequence[FoldScores],
) -> FoldResults:
    """Accuracies over all folds."""
    clips = [clip_list[index] for fold in scores for index in fold.positions]
    truth = np.array([classes.index(clip.esc50_class) for clip in clips])
    answers = np.concatenate([fold.bundle for fold in scores])
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (truth, answers.argmax(1)), 1)
    floats = np.concatenate([fold.student for fold in scores])
    groups = [sorted({clip_list[index].group for index in fold.positions}) for fold in scores]
    return FoldResults(
        checkpoint=checkpoint,
        recipe=recipe,
        held_out_groups=tuple(map(tuple, groups)),
        n_leaky_clips=int(is_leaky(clips).sum()),
        bundle=accuracies(answers, truth, clips, classes),
        student=accuracies(floats, truth, clips, classes),
        classes=classes,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def is_leaky(clips: Sequence[Clip]) -> NDArray[np.bool_]:
    """Whether another fold has a clip of the same recording."""
    twins = {name for pair in TWINS for name in pair}
    return np.array([c.group in LEAKY_GROUPS or Path(c.path).stem in twins for c in clips])


def accuracies(
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    clips: Sequence[Clip],
    classes: Sequence[str],
) -> FoldAccuracies:
    """ESC-10: the same students, their answers limited to its ten classes."""
    clean, is_esc10 = ~is_leaky(clips), np.array([bool(clip.esc10_class) for clip in clips])
    esc10_classes = {clip.esc50_class for clip in clips if clip.esc10_class}
    others = [name not in esc10_classes for name in classes]
    right = logits.argmax(1) == truth
    right10 = np.where(others, -np.inf, logits).argmax(1) == truth
    folds = np.array([clip.fold for clip in clips])
    return FoldAccuracies(
        esc50=_share(right),
        esc50_folds=tuple(float(right[folds == fold].mean()) for fold in FOLDS),
        esc50_leak_aware=_share(right[clean]),
        esc10=_share(right10[is_esc10]),
        esc10_leak_aware=_share(right10[is_esc10 & clean]),
    )


def _share(right: NDArray[np.bool_]) -> Estimate:
    return wilson(int(right.sum()), len(right))
