"""The training loop: batches, steps, checkpoints, resuming."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from numpy.typing import NDArray
from torch import Tensor

from distill.progress import format_figures, progress
from distill.runs.checkpoints import (
    CHECKPOINT_NAME,
    describe_run,
    load_state,
    load_to_resume,
    save_atomically,
)
from distill.runs.metrics_log import (
    METRICS_NAME,
    WATCH_CURVES_NAME,
    WATCH_NAME,
    MetricsLog,
    draw_curves,
)
from distill.runs.schedule import require_finite, warmup_constant_decay, warmup_cosine
from distill.students.student import Student
from distill.training.inputs import Input
from distill.training.objective import Objective
from distill.training.optimizers import averaged, make_optimizers
from distill.training.prefetch import prefetched
from distill.training.recipe import Recipe, TrainingConfig, may_resume
from distill.training.targets import Targets
from edge_audio.errors import EdgeAudioError, UsageError

_LOG_EVERY_STEPS = 25
_N_BATCHES_AHEAD = 3

Watch = Callable[[Student], Mapping[str, float]]
"""Figures of a student in eval mode, of what it does not learn from."""


def open_accelerator(config: TrainingConfig) -> Accelerator:
    """One process, or one of those that `torchrun` or `accelerate launch` started. UsageError for
    bf16 without a GPU: with oneDNN (torch 2.13) grouped convolutions in bf16 are wrong on CPUs."""
    if config.precision == "bf16" and not torch.cuda.is_available():
        raise UsageError(
            "training.precision is bf16, which needs a GPU, and none is found: "
            "--set training.precision=no trains in float32"
        )
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True)  # a loss may skip the head
    patience = InitProcessGroupKwargs(timeout=timedelta(days=7))  # while the first makes targets
    return Accelerator(
        cpu=not torch.cuda.is_available(),  # asked for by name, or torchrun's ranks are ignored
        mixed_precision=config.precision,
        kwargs_handlers=[ddp, patience],
    )


class Trainer:
    """Training state of one run; everything that a resume needs is in its checkpoint.

    recipe: what a checkpoint must have been made by to be resumed. objective: has the student,
    and gives the terms of the loss. inputs: add arrays to each batch of targets.
    The attribute `watch`, if set, looks at the trained student every config.watch_every_steps;
    nothing that it finds is learned from.
    """

    def __init__(
        self,
        *,
        accelerator: Accelerator,
        recipe: msgspec.Struct,
        seed: int,
        config: TrainingConfig,
        run_dir: Path,
        objective: Objective,
        targets: Targets,
        inputs: Sequence[Input] = (),
    ) -> None:
        self.recipe, self.seed, self.config, self.run_dir = recipe, seed, config, run_dir
        self.accelerator, self.targets, self.inputs = accelerator, targets, inputs
        self.objective = accelerator.prepare(objective)
        self.optimizers = {
            name: accelerator.prepare(optimizer)
            for name, optimizer in make_optimizers(self.module, config).items()
        }
        self.average = averaged(self.module, config.average_decay) if config.average_decay else None
        self.log = MetricsLog(run_dir / METRICS_NAME)
        self.watch: Watch | None = None
        self.watch_log = MetricsLog(run_dir / WATCH_NAME)
        self.step = 0
        self._order: tuple[int, NDArray[np.int64]] | None = None  # of the epoch drawn from
        n_processes = accelerator.num_processes
        if self.config.batch_size % n_processes or self.config.batch_size > len(targets):
            raise UsageError(
                f"training.batch_size {self.config.batch_size} must be a multiple of the "
                f"{n_processes} processes, and at most the {len(targets)} mixtures"
            )

    @property
    def module(self) -> Objective:
        """The objective itself, without what distributed training wraps around it."""
        module: Objective = self.accelerator.unwrap_model(self.objective)
        return module

    def run(self) -> Path:
        """Trains from the last checkpoint, if there is one, to the recipe's last step. The
        objective has the trained weights then, be they an average or the last."""
        is_main = self.accelerator.is_main_process
        if is_main:
            describe_run(self.run_dir, self.recipe)
        self._resume()
        bar = progress()
        bar.disable = not is_main
        with bar, closing(self._batches()) as batches:
            task = bar.add_task("", total=self.config.n_steps, completed=self.step)
            for batch in batches:
                losses = self._train_step(batch)
                self.step += 1
                bar.update(task, completed=self.step, description=format_figures(losses))
                if is_main:
                    self._record(losses)
        if is_main:
            self._save()
            draw_curves(self.run_dir)
        if self.average is not None:
            self.module.load_state_dict(self._trained.state_dict())
        self.accelerator.wait_for_everyone()
        return self.run_dir / CHECKPOINT_NAME

    def _record(self, losses: dict[str, float]) -> None:
        """Log, checkpoint and watch, each when it is due."""
        config = self.config
        if self.step % _LOG_EVERY_STEPS == 0:
            self.log.write(self.step, {"learning_rate": self._learning_rate(), **losses})
        if self.step % config.checkpoint_every_steps == 0:
            self._save()
        if self.watch and config.watch_every_steps and self.step % config.watch_every_steps == 0:
            student = self._trained.student.eval()
            self.watch_log.write(self.step, self.watch(student))
            draw_curves(self.run_dir, WATCH_NAME, WATCH_CURVES_NAME)

    def _batches(self) -> Generator[dict[str, Tensor], None, None]:
        """Batches from the current step on, made ahead of time."""
        steps = range(self.step, self.config.n_steps)
        return prefetched(self._batch, steps, _N_BATCHES_AHEAD)

    def _indices(self, step: int) -> NDArray[np.int64]:
        """The mixtures of a step; the order depends on seed and epoch only. What is had together
        stays together: from a stream, a batch would read as many pools as it has mixtures."""
        size = self.config.batch_size
        epoch, position = divmod(step, len(self.targets) // size)
        if self._order is None or self._order[0] != epoch:
            rng, n_together = np.random.default_rng((self.seed, epoch)), self.targets.n_together
            firsts = n_together * rng.permutation(-(-len(self.targets) // n_together))
            order = (firsts[:, None] + np.arange(n_together)).ravel()
            self._order = epoch, order[order < len(self.targets)]
        return self._order[1][position * size : (position + 1) * size]

    def _train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        self.objective.train()
        self._set_rates()
        terms = self.objective(batch)
        total = torch.stack(list(terms.values())).sum()
        require_finite(total, self.step, self.run_dir)
        self.objective.zero_grad()
        self.accelerator.backward(total)
        if largest := self.config.max_gradient_norm:
            self.accelerator.clip_grad_norm_(self.objective.parameters(), largest)
        for optimizer in self.optimizers.values():
            optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        return {"loss": total.item(), **{name: term.item() for name, term in terms.items()}}

    def _batch(self, step: int) -> dict[str, Tensor]:
        """This process's share of a step's batch, on its device. Called by one thread, which may
        be steps ahead of the training."""
        rank, n_processes = self.accelerator.process_index, self.accelerator.num_processes
        share = self.config.batch_size // n_processes
        arrays = self.targets.batch(self._indices(step)[rank * share : (rank + 1) * share])
        for added in self.inputs:
            arrays |= added(arrays, step * n_processes + rank)
        device = self.accelerator.device
        return {
            field: torch.from_numpy(values.astype(np.float32)).to(device)
            for field, values in arrays.items()
        }

    def _set_rates(self) -> None:
        rate = self._learning_rate()
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]

    def _learning_rate(self) -> float:
        config = self.config
        until = self.step, config.n_warmup_steps, config.n_steps
        if config.schedule == "cosine":
            return config.learning_rate * warmup_cosine(*until)
        return config.learning_rate * warmup_constant_decay(*until, config.decay_share)

    @property
    def _trained(self) -> Objective:
        """What the run is for: the moving average, or the weights of the last step."""
        return self.module if self.average is None else cast("Objective", self.average.module)

    def _save(self) -> None:
        state = self._trained.state_dict()
        heads = {name: value for name, value in state.items() if not name.startswith("student.")}
        saved = {
            "recipe": msgspec.json.encode(self.recipe).decode(),
            "step": self.step,
            "student": self._trained.student.state_dict(),
            "heads": heads,
            **{name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }
        if self.average is not None:
            saved |= {"n_averaged": self.average.n_averaged, "raw": self.module.state_dict()}
        save_atomically(saved, self.run_dir / CHECKPOINT_NAME)

    def _resume(self) -> None:
        path = self.run_dir / CHECKPOINT_NAME
        state = load_to_resume(path, self.recipe, may_resume)
        if not state:
            return
        self.step = state["step"]
        if self.step > self.config.n_steps:
            raise UsageError(
                f"{path} is at step {self.step} already: training.n_steps must be at least that"
            )
        self._trained.student.load_state_dict(state["student"])
        self._trained.load_state_dict(state["heads"], strict=False)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
        if self.average is not None:
            self.average.n_averaged.copy_(state["n_averaged"])
            self.module.load_state_dict(state["raw"])


def load_student(checkpoint: Path) -> tuple[Student, Recipe]:
    """The trained student in eval mode, and the recipe that made it."""
    state = load_state(checkpoint)
    try:
        recipe = msgspec.json.decode(state["recipe"], type=Recipe)
        student = Student(recipe.student)
        student.load_state_dict(state["student"])
    except (RuntimeError, KeyError, msgspec.DecodeError) as error:
        raise EdgeAudioError(f"{checkpoint} is not a student checkpoint: {error}") from error
    return student.eval(), recipe
