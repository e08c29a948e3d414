"""ESC-50 and ESC-10 by the official folds: a distilled student, fine-tuned on four folds, is
scored on the fifth as a device would run it, streaming through its exported int8 bundle.

Inductive throughout: the student that fold k is scored with has never heard a clip of fold k,
nor another clip of its recordings, labelled by the teacher or not. The mixtures of the joint
distillation and fine-tuning are drawn fold by fold, so that one cache serves all five folds.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from distill.data.folders import data_dir
from distill.data.labels import audioset_labels
from distill.data.manifest import ClipStore, Split, read_manifest
from distill.evaluation.fold_tables import FOLDS, FoldScores, Report, summarise
from distill.evaluation.metrics import REGRESSION_C
from distill.mixing.mixtures import Mixer, MixtureConfig
from distill.runs.checkpoints import read_toml, save_atomically
from distill.scoring.clips import BundleScorer, StudentScorer, log_odds
from distill.students.student import Student, StudentOutput
from distill.teachers import open_teacher
from distill.training.objective import Batch, Objective
from distill.training.recipe import LossConfig, Recipe, TrainingConfig
from distill.training.targets import (
    Arrays,
    CachedTargets,
    TargetCache,
    TargetMaker,
    cache_key,
    teach,
)
from distill.training.trainer import Trainer, load_student, open_accelerator, training_clips
from edge_audio.bundle.spec import Spec
from edge_audio.bundle.store import load_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.folders import peers_dir

OTHERS = 0
"""Stands for audio outside ESC where folds are numbered."""


class FineTuning(Spec, frozen=True):
    """How a distilled student becomes a classifier of a fold.

    training.n_mixtures is per fold; n_other_mixtures more, of clips outside ESC, are shared by
    all folds and have no class but what the teacher makes of them. class_weight: weight of the
    cross-entropy over the classes, beside the distillation terms of `loss`. teacher_share: part
    of its target that a regression on the teacher's embeddings gives, fitted on the four folds;
    the rest are the true classes.
    """

    seed: int
    training: TrainingConfig
    mixture: MixtureConfig
    loss: LossConfig = LossConfig()
    n_other_mixtures: int = 6_144
    class_weight: float = 10.0
    teacher_share: float = 0.5


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


class FoldData:
    """The ESC clips, their teacher targets fold by fold, and the teacher's embeddings."""

    def __init__(
        self, recipe: Recipe, fine_tuning: FineTuning, cache_dir: Path, n_processes: int
    ) -> None:
        self.recipe, self.fine_tuning = recipe, fine_tuning
        self.clips = read_manifest(data_dir())
        rate_hz = recipe.student.frontend.sample_rate_hz
        self.store = ClipStore.open(data_dir(), self.clips, rate_hz, cache_dir)
        self.positions = np.array([i for i, clip in enumerate(self.clips) if clip.is_esc])
        esc = [self.clips[i] for i in self.positions]
        self.classes = tuple(sorted({clip.esc50_class for clip in esc}))
        self.folds = np.array([clip.fold for clip in esc])
        if missing := set(FOLDS) - set(self.folds.tolist()):
            raise UsageError(f"the manifest has no ESC clips in folds {sorted(missing)}")
        self.truth = np.array([self.classes.index(clip.esc50_class) for clip in esc])
        n_mixtures = fine_tuning.training.n_mixtures
        self.targets = {
            fold: self._targets(
                self.positions[self.folds == fold], fold, n_mixtures, cache_dir, n_processes
            )
            for fold in FOLDS
        }
        others = np.array(training_clips(recipe, self.clips))
        if n_others := fine_tuning.n_other_mixtures:
            self.targets[OTHERS] = self._targets(others, OTHERS, n_others, cache_dir, n_processes)
        self.embeddings = self._embeddings(cache_dir)

    def training_targets(self, held_out_fold: int) -> CachedTargets:
        """Those of the other folds and of other audio, with each mixture's class distribution."""
        parts = [part for fold, part in self.targets.items() if fold != held_out_fold]
        fields = parts[0].arrays
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in fields}
        arrays["classes"] = self._class_targets(arrays, held_out_fold)
        return CachedTargets(parts[0].teachers, arrays)

    def heard_groups(self, held_out_fold: int) -> set[str]:
        """Recordings that the student of this fold has heard: those of its first distillation
        and the training folds."""
        training = self.recipe.split.divide(self.clips)[0]
        return {clip.group for clip in training} | {
            self.clips[i].group
            for i, fold in zip(self.positions, self.folds, strict=True)
            if fold != held_out_fold
        }

    def _targets(
        self,
        indices: NDArray[np.int64],
        part: int,
        n_mixtures: int,
        cache_dir: Path,
        n_processes: int,
    ) -> CachedTargets:
        config, frontend = self.fine_tuning, self.recipe.student.frontend
        teachers, seed = self.recipe.teachers, (config.seed + 1) * 100 + part

        def open_maker() -> TargetMaker:
            rate_hz = frontend.sample_rate_hz
            n_samples = round(config.mixture.duration_s * rate_hz) + frontend.overlap_samples
            mixer = Mixer(self.store, indices.tolist(), config.mixture, rate_hz, n_samples)
            opened = [open_teacher(teacher, peers_dir()) for teacher in teachers]
            return TargetMaker(mixer, opened, frontend, seed, n_mixtures)

        heard = [self.clips[index] for index in indices]
        key = cache_key(heard, config.mixture, teachers, frontend, seed)
        cache = TargetCache(cache_dir / f"targets-{key}", n_mixtures)
        cache.build(open_maker, n_processes)
        return cache.load()

    def _embeddings(self, cache_dir: Path) -> NDArray[np.float32]:
        """[n_clips, D]: the first teacher's deepest layer, averaged over each ESC clip."""
        config = self.recipe.teachers[0]
        key = cache_key([self.clips[i] for i in self.positions], config)
        path = cache_dir / f"embeddings-{key}.npy"
        if not path.exists():
            teacher = open_teacher(config, peers_dir())
            rate_hz = self.recipe.student.frontend.sample_rate_hz
            rows = []
            for index in track(self.positions, description="teacher embeddings"):
                hidden = teach(teacher, self.store[int(index)][None], rate_hz).hidden
                rows.append(hidden[-1][0].mean(0).numpy())
            np.save(path, np.stack(rows))
        embeddings: NDArray[np.float32] = np.load(path)
        return embeddings

    def _class_targets(self, arrays: Arrays, held_out_fold: int) -> NDArray[np.float32]:
        """f32[N, C]: the true classes in equal parts, mixed with what a regression on the
        teacher's embeddings of the training folds makes of each mixture; that alone where there
        is no class."""
        class_of = np.full((len(self.clips) + 1, len(self.classes)), 0.0, np.float32)
        class_of[self.positions, self.truth] = 1.0  # source -1: the last row, no class
        true = class_of[arrays["sources"]].sum(1)
        true /= np.maximum(true.sum(1, keepdims=True), 1.0)
        teacher = self.targets[FOLDS[0]].teachers[0]
        mixed = arrays[f"{teacher.name}.hidden.{len(teacher.layers) - 1}"].astype(np.float32)
        regression = make_pipeline(
            StandardScaler(), LogisticRegression(C=REGRESSION_C, max_iter=1000, random_state=0)
        )
        train = self.folds != held_out_fold
        regression.fit(self.embeddings[train], self.truth[train])
        soft = regression.predict_proba(mixed.mean(1)).astype(np.float32)
        has_class = true.any(1, keepdims=True)
        share = np.where(has_class, self.fine_tuning.teacher_share, 1.0).astype(np.float32)
        return (1.0 - share) * true + share * soft


def evaluate_folds(
    checkpoint: Path, fine_tuning_path: Path, runs_dir: Path, n_processes: int
) -> Report:
    """Fine-tunes, exports and scores the five students; runs that are done are not repeated.

    Raises EdgeAudioError if the checkpoint's student has heard an ESC clip.
    """
    recipe = load_student(checkpoint)[1]
    fine_tuning = read_toml(fine_tuning_path, FineTuning)
    data = FoldData(recipe, fine_tuning, runs_dir / "cache", n_processes)
    scores = [
        score_fold(fold_classifier(checkpoint, data, runs_dir, fold), data, fold) for fold in FOLDS
    ]
    return summarise(str(checkpoint), recipe.name, data.clips, data.classes, scores)


def fold_classifier(checkpoint: Path, data: FoldData, runs_dir: Path, fold: int) -> Path:
    """The checkpoint of the classifier that has not heard `fold`, trained unless it is there.

    Raises EdgeAudioError if the student has heard one of that fold's clips.
    """
    check_never_heard(data, fold)
    student, recipe = load_student(checkpoint)
    fold_recipe = FoldRecipe(
        name=f"{recipe.name}-fold-{fold}",
        fold=fold,
        student_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        fine_tuning=data.fine_tuning,
    )
    run_dir = runs_dir / f"{recipe.name}-folds" / f"fold-{fold}"
    return fine_tune(student, recipe, fold_recipe, data, run_dir)


def check_never_heard(data: FoldData, fold: int) -> None:
    """Raises EdgeAudioError if the student heard a clip of this fold before fine-tuning, or
    another clip of its recording, the known leaks of the official folds aside."""
    training = data.recipe.split.divide(data.clips)[0]
    heard = {clip.group for clip in training}
    held_out = [data.clips[i] for i in data.positions[data.folds == fold]]
    leaks = [clip.path for clip in held_out if clip.group in heard]
    if leaks:
        raise EdgeAudioError(
            f"the student of {data.recipe.name} has heard {len(leaks)} clips of fold {fold}, such "
            f"as {leaks[0]}: distil it with split.hold_out_esc = true"
        )


def fine_tune(
    student: Student, recipe: Recipe, fold_recipe: FoldRecipe, data: FoldData, run_dir: Path
) -> Path:
    """Trains, or goes on training, the classifier of one fold; returns its checkpoint, which
    `edge-audio quantize` reads like any other."""
    path = run_dir / "classifier.pt"
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
        targets.batch(np.arange(256)),
    )
    accelerator = open_accelerator(settings.training)
    Trainer(
        accelerator,
        fold_recipe,
        settings.seed,
        settings.training,
        run_dir,
        objective,
        targets,
    ).run()
    classifier = msgspec.structs.replace(recipe.student, n_classes=len(data.classes))
    split = Split(tiers=("A", "B", "C", "E"), held_out_folds=(fold_recipe.fold,))
    described = msgspec.structs.replace(
        recipe, name=fold_recipe.name, student=classifier, labels=data.classes, split=split
    )
    weights = {name: value for name, value in copy.state_dict().items() if "head." not in name}
    for name, value in objective.class_head.state_dict().items():
        weights[f"head.{name}"] = value
    described_json = msgspec.json.encode(described).decode()
    step = settings.training.n_steps
    save_atomically({"recipe": described_json, "step": step, "student": weights}, path)
    return path


def score_fold(classifier: Path, data: FoldData, fold: int) -> FoldScores:
    """Exports the classifier and scores the fold's clips with both."""
    command = [sys.executable, "-m", "edge_audio", "quantize", str(classifier)]
    command += ["--name", "int8", "--out", str(classifier.parent), "--no-thresholds"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EdgeAudioError(f"export of {classifier} failed: {done.stderr.strip()[-500:]}")
    student = StudentScorer("student", load_student(classifier)[0], data.classes)
    bundle = BundleScorer(load_bundle(str(classifier.parent / "int8")))
    positions = data.positions[data.folds == fold]
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for index in track(positions, description=f"scoring fold {fold}", console=Console(stderr=True)):
        samples = data.store[int(index)]
        rows.append((clip_logits(student, samples), clip_logits(bundle, samples)))
    return FoldScores(positions, *(np.stack(column) for column in zip(*rows, strict=True)))


def clip_logits(
    scorer: StudentScorer | BundleScorer, samples: NDArray[np.float32]
) -> NDArray[np.float32]:
    """f32[n_classes], pooled as in training."""
    tokens = torch.from_numpy(log_odds(scorer.steps(samples)))
    return log_mean_exp(tokens[None])[0].numpy()
