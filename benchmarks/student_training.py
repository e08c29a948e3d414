"""What training costs per family of students: all tokens at once, and one step after the other,
and what Muon takes to move the weights, ours and PyTorch's.

    python benchmarks/student_training.py [--size tiny] [--batch-size 32] [--duration-s 10]

Forward and backward pass, CPU seconds of one thread, the least of --repeats rounds, since other
work on a machine only ever adds time. "SequenceMixer" is the sequence mixer of one block alone; the
student has four, between a stem and a head that all families share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from distill.students.blocks import ResidualBlock
from distill.students.cost import count_mmac_per_s, count_parameters
from distill.students.sequence_mixer import SequenceMixer
from distill.students.sizes import MIXERS, SIZES, student_config
from distill.students.student import Student
from distill.training.optimizers import Muon, muon_weights


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one forward and backward pass."""

    at_once_s: float
    stepwise_s: float

    @property
    def ratio(self) -> float:
        """How many times faster all tokens at once are."""
        return self.stepwise_s / self.at_once_s


def step_student(student: Student, frames: Tensor) -> Tensor:
    """[B, T, n_mels] -> logits [B, T / 8, n_classes], token by token."""
    state, logits = student.initial_state(len(frames)), []
    for block in frames.split(student.frames_per_step, dim=1):
        output, state = student.step(block, state)
        logits.append(output.logits)
    return torch.stack(logits, 1)


def step_mixer(mixer: SequenceMixer[Any], u: Tensor) -> Tensor:
    """[B, T, D] -> [B, T, D], token by token."""
    state = mixer.initial_state(len(u))
    rows = []
    for row in u.unbind(1):
        y, state = mixer.step(row, state)
        rows.append(y)
    return torch.stack(rows, 1)


def cpu_seconds(run: Callable[[], Tensor], n_repeats: int) -> float:
    """Least CPU time of a run and its gradient."""
    return least_seconds(lambda: run().square().mean().backward(), n_repeats)


def least_seconds(run: Callable[[], object], n_repeats: int) -> float:
    """Least CPU time of a run; the first warms up and does not count."""
    seconds = []
    for _ in range(n_repeats + 1):
        start_s = time.process_time()
        run()
        seconds.append(time.process_time() - start_s)
    return min(seconds[1:])


def measure(
    student: Student, frames: Tensor, n_repeats: int, n_repeats_stepwise: int
) -> tuple[Cost, Cost]:
    """(student, one of its mixers), in training mode."""
    block = student.blocks[0]
    assert isinstance(block, ResidualBlock)
    mixer = block.mixer
    n_tokens = frames.shape[1] // student.frames_per_step
    u = torch.randn(len(frames), n_tokens, student.config.channels, requires_grad=True)
    student.train()
    whole = Cost(
        cpu_seconds(lambda: student(frames).logits, n_repeats),
        cpu_seconds(lambda: step_student(student, frames), n_repeats_stepwise),
    )
    part = Cost(
        cpu_seconds(lambda: mixer(u), n_repeats),
        cpu_seconds(lambda: step_mixer(mixer, u), n_repeats_stepwise),
    )
    return whole, part


def muon_seconds(student: Student, n_repeats: int) -> tuple[float, float]:
    """Least CPU time in which our Muon, and PyTorch's, move a student's matrices."""
    weights = [weight for _, weight in muon_weights(student)]
    matrices = [nn.Parameter(weight.detach().flatten(1)) for weight in weights]
    for weight in (*weights, *matrices):
        weight.grad = torch.randn_like(weight)
    ours, theirs = Muon(weights, 0.1), torch.optim.Muon(matrices)
    return least_seconds(ours.step, n_repeats), least_seconds(theirs.step, n_repeats)


@click.command()
@click.option("--size", type=click.Choice(list(SIZES)), default="tiny", show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--duration-s", default=10.0, show_default=True)
@click.option("--repeats", default=8, show_default=True, help="Rounds of the parallel form.")
@click.option("--stepwise-repeats", default=2, show_default=True)
def main(
    size: str, batch_size: int, duration_s: float, repeats: int, stepwise_repeats: int
) -> None:
    """Prints one row per family, and a line of optimisers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    n_tokens = round(duration_s / 0.08)
    frames = torch.randn(batch_size, 8 * n_tokens, 64)
    table = Table(title=f"{size}: {batch_size} x {n_tokens} tokens, forward + backward")
    for column in (
        *("family", "parameters", "MMAC/s", "student s", "tokens/s", "stepwise s", "ratio"),
        *("mixer ms", "stepwise ms", "ratio"),
    ):
        table.add_column(column, justify="left" if column == "family" else "right")
    for family in track(MIXERS, transient=True):
        student = Student(student_config(f"{size}-{family}"))
        whole, mixer = measure(student, frames, repeats, stepwise_repeats)
        table.add_row(
            family,
            f"{count_parameters(student):,}",
            f"{count_mmac_per_s(student):.2f}",
            f"{whole.at_once_s:.3f}",
            f"{batch_size * n_tokens / whole.at_once_s:,.0f}",
            f"{whole.stepwise_s:.2f}",
            f"{whole.ratio:.1f}",
            f"{1e3 * mixer.at_once_s:.1f}",
            f"{1e3 * mixer.stepwise_s:.0f}",
            f"{mixer.ratio:.1f}",
        )
    Console(width=120).print(table)
    ours_s, theirs_s = muon_seconds(Student(student_config(size)), repeats)
    print(f"{size}: Muon moves the weights in {ours_s:.3f} s, torch.optim.Muon in {theirs_s:.3f} s")


if __name__ == "__main__":
    main()
