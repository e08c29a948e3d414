"""Quantization-aware fine-tuning: a student goes on with its own recipe, its weights rounded to
int8 in every forward pass, so that it learns to live with the rounding."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.students.student import Student
from distill.training.distill import distill
from distill.training.trainer import load_student
from quantize.graph.int8 import MAX_INT8

LEARNING_RATE_FACTOR = 0.1
"""Of the recipe's rate: the student is to be adjusted, not trained anew."""


class RoundedLinear(nn.Linear):
    """A Linear that computes with weights as `int8.quantize_weight` rounds them; the gradient
    passes straight through to the float weights (Bengio et al. 2013)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        scale = weight.detach().abs().amax(1, keepdim=True).clamp(min=1e-8) / MAX_INT8
        rounded = torch.round(weight.detach() / scale).clamp(-MAX_INT8, MAX_INT8) * scale
        return functional.linear(x, weight + (rounded - weight).detach(), self.bias)


def round_in_forward(student: Student) -> None:
    """Puts a RoundedLinear, with the same parameters, in the place of every Linear."""
    linears = [
        (name, module) for name, module in student.named_modules() if type(module) is nn.Linear
    ]
    for name, linear in linears:
        has_bias = linear.bias is not None
        rounded = RoundedLinear(linear.in_features, linear.out_features, bias=has_bias)
        rounded.weight, rounded.bias = linear.weight, linear.bias
        parent, _, attribute = name.rpartition(".")
        setattr(student.get_submodule(parent), attribute, rounded)


def fine_tune(checkpoint: Path, n_steps: int, runs_dir: Path, n_processes: int) -> Path:
    """Trains `n_steps` more on the recipe's own targets; returns the new checkpoint, in the run
    folder NAME-qat."""
    recipe = load_student(checkpoint)[1]
    training = msgspec.structs.replace(
        recipe.training,
        n_steps=n_steps,
        n_warmup_steps=n_steps // 10,
        learning_rate=LEARNING_RATE_FACTOR * recipe.training.learning_rate,
    )
    tuned = msgspec.structs.replace(
        recipe,
        name=f"{recipe.name}-qat",
        start_from=str(checkpoint),
        new_mixers=False,
        blend=0.0,
        training=training,
        head_fitted=False,
    )
    return distill(tuned, runs_dir, n_processes, prepare=round_in_forward)
