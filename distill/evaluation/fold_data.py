"""What fold-wise fine-tuning learns from: ESC clips, and other audio, with teacher targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from distill.data.clip_list import read_clip_list
from distill.data.clip_store import ClipStore
from distill.data.folders import named_clip_list
from distill.evaluation.fold_results import FOLDS
from distill.evaluation.metrics import REGRESSION_C
from distill.mixing.mixtures import Mixer, MixtureConfig
from distill.progress import tracked
from distill.teachers.opening import open_teacher
from distill.training.distill import files_behind
from distill.training.recipe import LossConfig, Recipe, TrainingConfig
from distill.training.shards import Arrays
from distill.training.targets import (
    CachedTargets,
    TargetArrays,
    TargetCache,
    TargetMaker,
    cache_key,
    teach,
)
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.support.files import errors_for_people, file_draft
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

    def __post_init__(self) -> None:
        if self.loss.human or self.loss.strong:
            raise ValueError("loss.human and loss.strong have no labels here: leave them out")
        if self.loss.token_stride > 1:
            raise ValueError("loss.token_stride: clips are scored by all tokens: leave it out")
        if not self.training.cache or self.training.watch_every_steps:
            raise ValueError(
                "folds keep their targets and are not watched: "
                "leave out training.cache and training.watch_every_steps"
            )


class FoldData:
    """The ESC clips, their teacher targets fold by fold, and the teacher's embeddings."""

    def __init__(
        self, recipe: Recipe, fine_tuning: FineTuning, cache_dir: Path, n_processes: int
    ) -> None:
        self.recipe, self.fine_tuning = recipe, fine_tuning
        clip_list = named_clip_list()
        self.clips = read_clip_list(clip_list)
        rate_hz = recipe.student.frontend.sample_rate_hz
        self.store = ClipStore.open(clip_list.parent, self.clips, rate_hz, cache_dir)
        self.positions = np.array([i for i, clip in enumerate(self.clips) if clip.is_esc])
        esc = [self.clips[i] for i in self.positions]
        self.classes = tuple(sorted({clip.esc50_class for clip in esc}))
        self.folds = np.array([clip.fold for clip in esc])
        if missing := set(FOLDS) - set(self.folds.tolist()):
            raise UsageError(f"the clip list has no ESC clips in folds {sorted(missing)}")
        self.truth = np.array([self.classes.index(clip.esc50_class) for clip in esc])
        n_mixtures = fine_tuning.training.n_mixtures
        self.targets = {
            fold: self._targets(
                self.positions[self.folds == fold], fold, n_mixtures, cache_dir, n_processes
            )
            for fold in FOLDS
        }
        others = np.array(recipe.split.training_positions(self.clips))
        if n_others := fine_tuning.n_other_mixtures:
            self.targets[OTHERS] = self._targets(others, OTHERS, n_others, cache_dir, n_processes)
        self.embeddings = self._embeddings(cache_dir)

    def training_targets(self, held_out_fold: int) -> TargetArrays:
        """The targets of the other folds and of other audio, with the class distribution of each
        mixture."""
        targets = [part for fold, part in self.targets.items() if fold != held_out_fold]
        parts = [part.batch(np.arange(len(part))) for part in targets]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        arrays["classes"] = self._class_targets(arrays, held_out_fold)
        return TargetArrays(targets[0].teachers, arrays)

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

        heard, places = [self.clips[index] for index in indices], indices.tolist()
        files = files_behind(heard, teachers)
        key = cache_key(heard, places, config.mixture, teachers, frontend, seed, files)
        cache = TargetCache(cache_dir / f"targets-{key}", n_mixtures)
        cache.build(open_maker, n_processes)
        return cache.load()

    def _embeddings(self, cache_dir: Path) -> NDArray[np.float32]:
        """[n_clips, D]: the first teacher's deepest layer, averaged over each ESC clip."""
        config = self.recipe.teachers[0]
        rate_hz = self.recipe.student.frontend.sample_rate_hz
        clips = [self.clips[i] for i in self.positions]
        key = cache_key(clips, config, rate_hz, files_behind(clips, [config]))
        path = cache_dir / f"embeddings-{key}.npy"
        if not path.exists():
            teacher = open_teacher(config, peers_dir())
            rows = []
            for index in tracked(self.positions, "teacher embeddings"):
                hidden = teach(teacher, self.store[int(index)][None], rate_hz).hidden
                rows.append(hidden[-1][0].mean(0).numpy())
            with errors_for_people(path), file_draft(path) as draft, draft.open("wb") as file:
                np.save(file, np.stack(rows))
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
        targets: NDArray[np.float32] = (1.0 - share) * true + share * soft
        return targets
