"""One pretraining run: draw mixtures, predict the hidden part, let the teacher follow, resume."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from distill.data.clip_list import read_clip_list
from distill.data.clip_store import ClipStore
from distill.data.folders import named_clip_list
from distill.mixing.mixtures import Mixer
from distill.pretraining.encoder import PatchEncoder
from distill.pretraining.masking import patchout, visible_patches
from distill.pretraining.objective import (
    LatentStudent,
    LatentTargets,
    Prediction,
    ema_decay,
    follow,
    latent_loss,
    latent_targets,
)
from distill.pretraining.recipe import PretrainRecipe
from distill.pretraining.watch import examine, warn_of_collapse
from distill.progress import format_figures, progress
from distill.runs.checkpoints import (
    CHECKPOINT_NAME,
    describe_run,
    load_state,
    load_to_resume,
    save_atomically,
)
from distill.runs.metrics_log import METRICS_NAME, MetricsLog, draw_curves
from distill.runs.schedule import require_finite, warmup_cosine
from edge_audio.errors import EdgeAudioError
from edge_audio.features.frontend import log_mel


class Batch(NamedTuple):
    """mels [B, T, n_mels]; first_position i64[B]; grid i64[B, positions, bands]: the patches that
    Patchout leaves; kept i64[B, n_clones, K]: places in the flat grid that each clone sees."""

    mels: Tensor
    first_position: Tensor
    grid: Tensor
    kept: Tensor


class PretrainLosses(NamedTuple):
    """Terms of the loss, to be summed, and what they compare."""

    terms: dict[str, Tensor]
    targets: LatentTargets
    prediction: Prediction


def pretrain(recipe: PretrainRecipe, runs_dir: Path, n_workers: int = 0) -> Path:
    """Runs or resumes `recipe` in `runs_dir / recipe.name`; returns the checkpoint's path.

    n_workers: processes that draw mixtures beside the training one; 0 draws them in it.
    """
    run_dir = runs_dir / recipe.name
    describe_run(run_dir, recipe)
    dataset = Mixtures.open(recipe, runs_dir / "cache")
    return Pretrainer(recipe, run_dir, dataset, n_workers).run()


class Mixtures(Dataset[Batch]):
    """Endless training clips with their masks; clip `i` depends on seed and i alone, so that it
    is the same in whatever process, and after a resume."""

    def __init__(self, recipe: PretrainRecipe, mixer: Mixer) -> None:
        self.recipe, self.mixer = recipe, mixer

    @classmethod
    def open(cls, recipe: PretrainRecipe, cache_dir: Path) -> Mixtures:
        """Mixtures of the clips in $EDGE_AUDIO_DATA that the recipe's split may train on."""
        clip_list = named_clip_list()
        clips = read_clip_list(clip_list)
        frontend = recipe.encoder.frontend
        store = ClipStore.open(clip_list.parent, clips, frontend.sample_rate_hz, cache_dir)
        indices = recipe.split.training_positions(clips)
        mixer = Mixer(store, indices, recipe.mixture, frontend.sample_rate_hz, recipe.n_samples)
        return cls(recipe, mixer)

    def __getitem__(self, index: int) -> Batch:
        """One clip, without batch dimension."""
        encoder, seed = self.recipe.encoder, self.recipe.seed
        first_position, grid = self._places(index // self.recipe.training.batch_size)
        rng = np.random.default_rng((seed, index, 1))
        kept = visible_patches(rng, self.recipe.mask, *grid.shape)
        samples = self.mixer.draw((seed, index)).samples
        return Batch(
            torch.from_numpy(log_mel(encoder.frontend, samples)),
            torch.tensor(first_position),
            torch.from_numpy(grid),
            torch.from_numpy(kept),
        )

    def _places(self, batch: int) -> tuple[int, NDArray[np.int64]]:
        """The first position and the grid: one for the whole batch, so that its clips can be
        compared place by place."""
        recipe = self.recipe
        n_free = max(0, recipe.encoder.n_positions - recipe.n_positions)
        first = np.random.default_rng((recipe.seed, batch, 2)).integers(n_free + 1)
        rng = np.random.default_rng((recipe.seed, batch, 3))
        return int(first), patchout(rng, recipe.mask, recipe.n_positions, recipe.encoder.n_bands)


class Pretrainer:
    """Training state of one run; everything that a resume needs is in its checkpoint."""

    def __init__(
        self, recipe: PretrainRecipe, run_dir: Path, dataset: Dataset[Batch], n_workers: int = 0
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.run_dir = recipe, run_dir
        self.dataset, self.n_workers = dataset, n_workers
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        config = recipe.training
        student = LatentStudent(recipe.encoder, recipe.objective, config.recompute)
        self.student = student.to(self.device)
        self.teacher = copy.deepcopy(self.student.encoder).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.student, config.weight_decay), betas=(0.9, 0.95)
        )
        self.step = 0
        if config.compile:
            self.student.compile()
            self.teacher.compile()

    def run(self) -> Path:
        """Trains from the last checkpoint, if there is one, to the recipe's last step; the final
        checkpoint holds the teacher alone."""
        config = self.recipe.training
        path = self.run_dir / CHECKPOINT_NAME
        self.restore(load_to_resume(path, self.recipe))
        if self.step == config.n_steps:
            return path
        log = MetricsLog(self.run_dir / METRICS_NAME)
        started_s, first_step = time.monotonic(), self.step
        with progress() as bar:
            task = bar.add_task("", total=config.n_steps, completed=self.step)
            for batch in self.batches():
                figures = self.train_step(batch)
                bar.update(task, completed=self.step)
                if figures:
                    log.write(self.step, figures)
                    n_clips = (self.step - first_step) * config.batch_size
                    rate = n_clips / (time.monotonic() - started_s)
                    shown = {name: figures[name] for name in ("loss", "rank")}
                    bar.update(task, description=f"{rate:.1f} clips/s  {format_figures(shown)}")
                if self.step % config.checkpoint_every_steps == 0:
                    save_atomically(self._state(), path)
        save_atomically(self._state(finished=True), path)
        draw_curves(self.run_dir)
        return path

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One step of the optimiser and of the teacher. Figures for the log, on logged steps:
        loss and its terms, ema_decay, the teacher's rank and variation, and prediction_std, which
        sinks to 0 if the student predicts the same for every patch."""
        config = self.recipe.training
        warmth = warmup_cosine(self.step, config.n_warmup_steps, config.n_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * warmth
        made = self.losses(batch)
        loss = torch.stack(list(made.terms.values())).sum()
        require_finite(loss, self.step, self.run_dir)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), config.max_gradient_norm)
        self.optimizer.step()
        decay = ema_decay(self.recipe.objective, self.step, config.n_steps)
        follow(self.teacher, self.student.encoder, decay)
        self.step += 1
        if self.step % config.log_every_steps:
            return {}
        health = examine(made.targets.raw)
        warn_of_collapse(health, self.recipe.collapse, self.step)
        return {
            "loss": loss.item(),
            **{name: term.item() for name, term in made.terms.items()},
            "ema_decay": decay,
            "rank": health.rank,
            "variation": health.variation,
            "prediction_std": made.prediction.patches.detach().float().std((0, 1)).mean().item(),
        }

    def losses(self, batch: Batch) -> PretrainLosses:
        """The loss terms of a batch, with the student's prediction and the teacher's features."""
        objective = self.recipe.objective
        mels, first_position, grid, kept = (
            part.to(self.device, non_blocking=True) for part in batch
        )
        is_bf16 = self.recipe.training.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_bf16):
            with torch.no_grad():
                hidden = self.teacher(mels, first_position, numbers=grid.flatten(1))
            prediction = self.student(mels, first_position, grid, kept)
        targets = latent_targets(hidden, objective.n_target_blocks)
        terms = latent_loss(prediction, targets, kept, objective.utterance_weight)
        return PretrainLosses(terms, targets, prediction)

    def batches(self) -> Iterator[Batch]:
        """Batches from the current step on."""
        config = self.recipe.training
        size = config.batch_size
        return iter(
            DataLoader(
                self.dataset,
                size,
                sampler=range(self.step * size, config.n_steps * size),
                num_workers=self.n_workers,
                pin_memory=self.device.type == "cuda",
            )
        )

    def _state(self, finished: bool = False) -> dict[str, Any]:
        state = {
            "recipe": msgspec.json.encode(self.recipe).decode(),
            "step": self.step,
            "encoder": self.teacher.state_dict(),
        }
        if finished:
            return state
        return {
            **state,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over a checkpoint; {} leaves everything as it is."""
        if not state:
            return
        self.step = state["step"]
        self.teacher.load_state_dict(state["encoder"])
        if self.step < self.recipe.training.n_steps:
            self.student.load_state_dict(state["student"])
            self.optimizer.load_state_dict(state["optimizer"])


def _parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, gains and embeddings of single tokens do not."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def load_encoder(checkpoint: Path) -> tuple[PatchEncoder, PretrainRecipe]:
    """The pretrained teacher in eval mode, and the recipe that made it. EdgeAudioError if the
    file is no checkpoint of `edge-audio pretrain`."""
    state = load_state(checkpoint)
    try:
        recipe = msgspec.json.decode(state["recipe"], type=PretrainRecipe)
        encoder = PatchEncoder(recipe.encoder)
        encoder.load_state_dict(state["encoder"])
    except (RuntimeError, KeyError, msgspec.DecodeError) as error:
        raise EdgeAudioError(
            f"{checkpoint} was not made by edge-audio pretrain: {error}"
        ) from error
    return encoder.eval().requires_grad_(False), recipe
