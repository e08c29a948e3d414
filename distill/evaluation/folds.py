"""ESC-50 and ESC-10 by the official folds: a distilled student, fine-tuned on four folds, is
scored on the fifth as a device would run it, streaming through its exported int8 bundle.

Inductive throughout: the student that fold k is scored with has never heard a clip of fold k,
nor another clip of its recordings, labelled by the teacher or not. The mixtures of the joint
distillation and fine-tuning are drawn fold by fold, so that one cache serves all five folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.data.labels import audioset_labels
from distill.data.split import Split, require_unheard
from distill.evaluation.fold_data import FineTuning, FoldData
from distill.evaluation.fold_results import FOLDS, FoldResults, FoldScores, summarise
from distill.progress import tracked
from distill.runs.checkpoints import save_atomically
from distill.runs.toml import read_toml
from distill.scoring.clips import BundleScorer, StudentScorer, log_odds
from distill.students.student import Student, StudentOutput
from distill.training.distill import SAMPLE_SIZE
from distill.training.objective import Batch, Objective
from distill.training.recipe import Recipe
from distill.training.trainer import Trainer, load_student, open_accelerator
from edge_audio.bundle.spec import Spec
from edge_audio.bundle.store import load_bundle
from edge_audio.support.arrays import FloatArray

Export = Callable[[Path], Path]
"""Makes the int8 bundle of a classifier's checkpoint, and returns the bundle's folder. It is
handed in because students are exported by a package that stands above this one."""


class FoldRecipe(Spec, frozen=True):
    """One fine-tuning run: everything that its checkpoint depends on."""

    name: str
    fold: int
    student_sha256: str
    fine_tuning: FineTuning


class FoldObjective(Objective):
    """Distillation as before, and the classes of the fold's clips.

    batch["classes"] [B, C] is the class distribution of each mixture. A clip's logits are the
    log-mean-exp of its tokens' logits, between their mean and their maximum.
    """

    def __init__(self, n_classes: int, class_weight: float, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.class_weight = class_weight
        self.class_head = nn.Linear(self.student.config.embedding_dim, n_classes)

    def _terms(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        logits = log_mean_exp(self.class_head(output.embedding))
        cross_entropy = functional.cross_entropy(logits, batch["classes"])
        return {"class": self.class_weight * cross_entropy, **super()._terms(output, batch)}


def log_mean_exp(logits: Tensor) -> Tensor:
    """[B, T, C] -> [B, C]."""
    return torch.logsumexp(logits, 1) - float(np.log(logits.shape[1]))


def evaluate_folds(
    checkpoint: Path, fine_tuning_path: Path, runs_dir: Path, n_processes: int, export: Export
) -> FoldResults:
    """Fine-tunes, exports and scores the five students; runs that are done are not repeated.

    Raises EdgeAudioError if the checkpoint's student has heard an ESC clip.
    """
    recipe = load_student(checkpoint)[1]
    fine_tuning = read_toml(fine_tuning_path, FineTuning)
    data = FoldData(recipe, fine_tuning, runs_dir / "cache", n_processes)
    # All are trained before the first is exported: exporters change the process that they run in.
    classifiers = [fold_classifier(checkpoint, data, runs_dir, fold) for fold in FOLDS]
    scores = [
        score_fold(classifier, data, fold, export)
        for fold, classifier in zip(FOLDS, classifiers, strict=True)
    ]
    return summarise(str(checkpoint), recipe.name, data.clips, data.classes, scores)


def fold_classifier(checkpoint: Path, data: FoldData, runs_dir: Path, fold: int) -> Path:
    """The checkpoint of the classifier that has not heard `fold`, trained unless it is there.

    Raises EdgeAudioError if the student has heard one of that fold's clips.
    """
    require_fold_unheard(data, fold)
    student, recipe = load_student(checkpoint)
    fold_recipe = FoldRecipe(
        name=f"{recipe.name}-fold-{fold}",
        fold=fold,
        student_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        fine_tuning=data.fine_tuning,
    )
    run_dir = runs_dir / f"{recipe.name}-folds" / f"fold-{fold}"
    return fine_tune(student, recipe, fold_recipe, data, run_dir)


def require_fold_unheard(data: FoldData, fold: int) -> None:
    """Raises EdgeAudioError if the student heard a clip of this fold before fine-tuning, or
    another clip of its recording, the known leaks of the official folds aside."""
    require_unheard(
        data.recipe.split,
        data.clips,
        [data.clips[i] for i in data.positions[data.folds == fold]],
        who=f"the student of {data.recipe.name}",
        what=f"clips of fold {fold}",
        advice="distil it with split.hold_out_esc = true",
    )


def fine_tune(
    student: Student, recipe: Recipe, fold_recipe: FoldRecipe, data: FoldData, run_dir: Path
) -> Path:
    """Trains, or goes on training, the classifier of one fold; returns its checkpoint, which
    `edge-audio quantize` reads like any other."""
    settings = fold_recipe.fine_tuning
    targets = data.training_targets(fold_recipe.fold)
    torch.manual_seed(settings.seed)
    copy = Student(recipe.student)
    copy.load_state_dict(student.state_dict())
    objective = FoldObjective(
        len(data.classes),
        settings.class_weight,
        copy,
        settings.loss,
        targets.teachers,
        audioset_labels(),
        targets.batch(np.arange(min(len(targets), SAMPLE_SIZE))),
        settings.training.behind_silence,
    )
    Trainer(
        accelerator=open_accelerator(settings.training),
        recipe=fold_recipe,
        seed=settings.seed,
        config=settings.training,
        run_dir=run_dir,
        objective=objective,
        targets=targets,
    ).run()
    path = run_dir / "classifier.pt"
    save_atomically(_classifier_state(objective, recipe, fold_recipe, data.classes), path)
    return path


def _classifier_state(
    objective: FoldObjective, recipe: Recipe, fold_recipe: FoldRecipe, classes: tuple[str, ...]
) -> dict[str, Any]:
    """A checkpoint of the student with the fold's classes as its labels."""
    shape = msgspec.structs.replace(recipe.student, n_classes=len(classes))
    split = Split(tiers=("A", "B", "C", "E"), held_out_folds=(fold_recipe.fold,))
    described = msgspec.structs.replace(
        recipe, name=fold_recipe.name, student=shape, labels=classes, split=split
    )
    state = objective.student.state_dict()
    weights = {name: value for name, value in state.items() if "head." not in name}
    for name, value in objective.class_head.state_dict().items():
        weights[f"head.{name}"] = value
    return {
        "recipe": msgspec.json.encode(described).decode(),
        "step": fold_recipe.fine_tuning.training.n_steps,
        "student": weights,
    }


def score_fold(classifier: Path, data: FoldData, fold: int, export: Export) -> FoldScores:
    """Exports the classifier and scores the fold's clips with both."""
    student = StudentScorer("student", load_student(classifier)[0], data.classes)
    bundle = BundleScorer(load_bundle(str(export(classifier))))
    positions = data.positions[data.folds == fold]
    rows: list[tuple[FloatArray, FloatArray]] = []
    for index in tracked(positions, f"scoring fold {fold}"):
        samples = data.store[int(index)]
        rows.append((clip_logits(student, samples), clip_logits(bundle, samples)))
    return FoldScores(positions, *(np.stack(column) for column in zip(*rows, strict=True)))


def clip_logits(scorer: StudentScorer | BundleScorer, samples: FloatArray) -> FloatArray:
    """f32[n_classes], pooled as in training."""
    tokens = torch.from_numpy(log_odds(scorer.steps(samples)))
    return log_mean_exp(tokens[None])[0].numpy()
