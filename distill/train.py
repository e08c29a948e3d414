"""One distillation run: cache the teacher, train the student, checkpoint, resume."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from distill.cache import TargetCache, TargetMaker, cache_key
from distill.data import Clip, ClipStore, data_dir, read_manifest
from distill.losses import Targets, align, distillation_loss, plausible
from distill.mixtures import Mixer
from distill.recipe import Recipe, peers_dir
from distill.students.tagger import Student
from distill.teachers import efficientat
from distill.teachers.efficientat import EfficientATTeacher
from edge_audio.errors import EdgeAudioError

CHECKPOINT_NAME = "checkpoint.pt"
_LOG_EVERY_STEPS = 25
_SLOW_PARAMETERS = ("log_decay", "angle")  # the recurrence: lower rate, no weight decay


def distill(recipe: Recipe, runs_dir: Path, n_processes: int) -> Path:
    """Runs or resumes `recipe` in `runs_dir / recipe.name`; returns the checkpoint's path."""
    run_dir = runs_dir / recipe.name
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "recipe.json").write_bytes(msgspec.json.format(msgspec.json.encode(recipe)))
    arrays = build_cache(recipe, runs_dir / "cache", n_processes).load()
    return Trainer(recipe, run_dir, arrays).run()


def training_clips(recipe: Recipe, clips: list[Clip]) -> list[int]:
    """Positions in `clips` of those that the recipe may train on."""
    chosen = {clip.path for clip in recipe.split.divide(clips)[0]}
    return [index for index, clip in enumerate(clips) if clip.path in chosen]


def build_cache(recipe: Recipe, cache_dir: Path, n_processes: int) -> TargetCache:
    """The recipe's teacher targets, made where they are missing."""
    folder = data_dir()
    clips = read_manifest(folder)
    frontend = recipe.student.frontend
    rate_hz = frontend.sample_rate_hz
    store = ClipStore.open(folder, clips, rate_hz, cache_dir)
    indices = training_clips(recipe, clips)
    n_samples = int(recipe.mixture.duration_s * rate_hz) + frontend.overlap_samples
    heard = [clips[index] for index in indices]
    mixer = Mixer(store, indices, recipe.mixture, rate_hz, n_samples, balance(heard))
    teacher = EfficientATTeacher.load(peers_dir() / recipe.teacher.checkpoint, recipe.teacher.width)
    key = cache_key(heard, recipe.mixture, recipe.teacher, frontend, recipe.seed)
    cache = TargetCache(cache_dir / f"targets-{key}", recipe.training.n_mixtures)
    cache.build(TargetMaker(mixer, teacher, frontend, recipe.seed), n_processes)
    return cache


def balance(clips: list[Clip]) -> NDArray[np.float64]:
    """Odds of drawing each clip: one over the square root of its rarest label's count."""
    counts: dict[str, int] = {}
    for clip in clips:
        for label in clip.labels:
            counts[label] = counts.get(label, 0) + 1
    rarest = [min((counts[label] for label in clip.labels), default=1) for clip in clips]
    return 1.0 / np.sqrt(np.array(rarest, float))


class Trainer:
    """Training state of one run; everything that a resume needs is in its checkpoint."""

    def __init__(self, recipe: Recipe, run_dir: Path, arrays: dict[str, NDArray[Any]]) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.run_dir, self.arrays = recipe, run_dir, arrays
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.student = Student(recipe.student).to(self.device)
        features = arrays["features"][:256].astype(np.float32)
        self.feature_mean = torch.from_numpy(features.mean((0, 1))).to(self.device)
        self.feature_std = torch.from_numpy(features.std((0, 1)) + 1e-3).to(self.device)
        projection = nn.Linear(recipe.student.embedding_dim, features.shape[-1])
        self.projection = projection.to(self.device)
        self.optimizer = torch.optim.AdamW(self._parameter_groups())
        self.step = 0

    def run(self) -> Path:
        """Trains from the last checkpoint, if there is one, to the recipe's last step."""
        config = self.recipe.training
        self._resume()
        with _progress() as bar:
            task = bar.add_task("", total=config.n_steps, completed=self.step)
            for batch in self._batches():
                losses = self._train_step(batch)
                self.step += 1
                bar.update(task, completed=self.step, description=_format(losses))
                if self.step % _LOG_EVERY_STEPS == 0:
                    self._log(losses)
                if self.step % config.checkpoint_every_steps == 0:
                    self._save()
        self._save()
        return self.run_dir / CHECKPOINT_NAME

    def _parameter_groups(self) -> list[dict[str, Any]]:
        config = self.recipe.training
        named = list(self.student.named_parameters())
        slow = [p for name, p in named if name.endswith(_SLOW_PARAMETERS)]
        fast = [p for name, p in named if not name.endswith(_SLOW_PARAMETERS)]
        fast += self.projection.parameters()
        return [
            {"params": fast, "factor": 1.0, "weight_decay": config.weight_decay},
            {"params": slow, "factor": 0.3, "weight_decay": 0.0},
        ]

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        """Index batches from the current step on; the order depends on seed and epoch only."""
        config = self.recipe.training
        n_per_epoch = len(self.arrays["mels"]) // config.batch_size
        while self.step < config.n_steps:
            epoch, position = divmod(self.step, n_per_epoch)
            order = np.random.default_rng((self.recipe.seed, epoch)).permutation(
                len(self.arrays["mels"])
            )
            for start in range(position, n_per_epoch):
                if self.step >= config.n_steps:
                    return
                yield order[start * config.batch_size : (start + 1) * config.batch_size]

    def _train_step(self, batch: NDArray[np.int64]) -> dict[str, float]:
        self.student.train()
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        output = self.student(self._tensor("mels", batch))
        self._require_finite(output.logits.sum())  # some losses refuse a NaN in words of their own
        targets = self._targets(batch)
        terms = distillation_loss(self.recipe.loss, output, self.projection, targets)
        total = torch.stack(list(terms.values())).sum()
        self._require_finite(total)
        self.optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.training.max_gradient_norm)
        self.optimizer.step()
        return {"loss": total.item(), **{name: term.item() for name, term in terms.items()}}

    def _require_finite(self, value: Tensor) -> None:
        if not torch.isfinite(value):
            raise EdgeAudioError(
                f"the loss is {value.item()} at step {self.step}: the last good checkpoint is "
                f"kept in {self.run_dir}; lower training.learning_rate and run again"
            )

    def _learning_rate(self) -> float:
        config = self.recipe.training
        warmup = min(1.0, (self.step + 1) / config.n_warmup_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * self.step / config.n_steps))
        return config.learning_rate * warmup * cosine

    def _tensor(self, field: str, batch: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.arrays[field][batch].astype(np.float32)).to(self.device)

    def _targets(self, batch: NDArray[np.int64]) -> Targets:
        """Teacher targets at each token's centre, `delay_ms` earlier."""
        student = self.student
        n_tokens = self.arrays["mels"].shape[1] // student.frames_per_step
        centre_s = (torch.arange(n_tokens) + 0.5) * student.token_s
        times_s = (centre_s - student.config.delay_ms / 1e3).to(self.device)
        hop_s = efficientat.FRAME_HOP_S
        features = (self._tensor("features", batch) - self.feature_mean) / self.feature_std
        clip_logits = self._tensor("clip_logits", batch)
        frame_logits = align(self._tensor("frame_logits", batch), hop_s, times_s)
        return Targets(
            clip_logits,
            plausible(frame_logits, clip_logits, self.recipe.loss.frame_margin),
            align(features, hop_s, times_s),
        )

    def _save(self) -> None:
        """Atomic: a full disk or a kill leaves the last good checkpoint."""
        path = self.run_dir / CHECKPOINT_NAME
        partial = path.with_suffix(".partial")
        state = {
            "recipe": msgspec.json.encode(self.recipe).decode(),
            "step": self.step,
            "student": self.student.state_dict(),
            "projection": self.projection.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, partial)
        os.replace(partial, path)

    def _resume(self) -> None:
        path = self.run_dir / CHECKPOINT_NAME
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if msgspec.json.decode(state["recipe"], type=Recipe) != self.recipe:
            raise EdgeAudioError(
                f"{path} was made by a different recipe: choose another name or remove it"
            )
        self.step = state["step"]
        self.student.load_state_dict(state["student"])
        self.projection.load_state_dict(state["projection"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _log(self, losses: dict[str, float]) -> None:
        path = self.run_dir / "metrics.csv"
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "learning_rate", *losses])
            values = [f"{value:.5f}" for value in losses.values()]
            writer.writerow([self.step, f"{self._learning_rate():.6f}", *values])


def load_student(checkpoint: Path) -> tuple[Student, Recipe]:
    """The trained student in eval mode, and the recipe that made it."""
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        recipe = msgspec.json.decode(state["recipe"], type=Recipe)
        student = Student(recipe.student)
        student.load_state_dict(state["student"])
    except FileNotFoundError as error:
        raise EdgeAudioError(f"no checkpoint at {checkpoint}: run edge-audio distill") from error
    except (RuntimeError, KeyError, EOFError, UnpicklingError, msgspec.DecodeError) as error:
        raise EdgeAudioError(f"{checkpoint} is not a student checkpoint: {error}") from error
    return student.eval(), recipe


def _progress() -> Progress:
    return Progress(
        MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
    )


def _format(losses: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
