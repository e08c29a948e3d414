"""Which optimiser moves which weights: AdamW all of them, or Muon the matrices and AdamW the rest.

Each group of parameters has a `factor`, by which its learning rate differs from the schedule's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill.training.objective import Objective
from distill.training.recipe import TrainingConfig

_SLOW_PARAMETERS = ("log_decay", "angle")  # the recurrence: lower rate, no weight decay
_SLOW_FACTOR = 0.3

_MOMENTUM = 0.95
_NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
_N_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) with Nesterov momentum, its updates as large as AdamW's (Liu et al. 2025,
    0.2 times the root of the longer side), for weights [out, in] and those of pointwise
    convolutions [out, in, 1, ...], which it sees as matrices.

    As torch.optim.Muon, but in float32: that one's bfloat16 takes CPUs twenty times as long, for
    `small` more than a third of a step.
    """

    def __init__(self, weights: Sequence[nn.Parameter], weight_decay: float) -> None:
        groups = [{"params": list(weights), "factor": 1.0}]
        super().__init__(groups, {"lr": 1e-3, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves the weights by their gradients; what has none stays."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group["lr"], group["weight_decay"])

    def _move(self, weight: Tensor, rate: float, weight_decay: float) -> None:
        assert weight.grad is not None
        gradient, state = weight.grad.flatten(1), self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"]
        momentum.lerp_(gradient, 1.0 - _MOMENTUM)
        update = orthogonal(gradient.lerp(momentum, _MOMENTUM))
        weight.mul_(1.0 - rate * weight_decay)
        size = 0.2 * max(update.shape) ** 0.5
        weight.add_(update.reshape(weight.shape), alpha=-rate * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """With all singular values brought near to 1, by the Newton-Schulz iteration and coefficients
    of Jordan 2024."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    linear, cubic, quintic = _NEWTON_SCHULZ
    for _ in range(_N_ITERATIONS):
        gram = wide @ wide.T
        powers = torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic)
        wide = torch.addmm(wide, powers, wide, beta=linear)
    return wide if wide.shape == matrix.shape else wide.T


def make_optimizers(
    objective: Objective, config: TrainingConfig
) -> dict[str, torch.optim.Optimizer]:
    """By name, as checkpoints keep their states. The objective must be where it is trained."""
    if config.optimizer == "adamw":
        return {"optimizer": torch.optim.AdamW(_adamw_groups(objective, config, {}, 1.0))}
    matrices = dict(muon_weights(objective.student))
    rest = _adamw_groups(objective, config, matrices, config.adamw_rate_share)
    return {
        "optimizer": torch.optim.AdamW(rest),
        "muon": Muon(list(matrices.values()), config.weight_decay),
    }


def _adamw_groups(
    objective: Objective, config: TrainingConfig, others: Mapping[str, Tensor], share: float
) -> list[dict[str, Any]]:
    """All parameters but those that `others` names within the student."""
    left_out = {f"student.{name}" for name in others}
    named = [(name, p) for name, p in objective.named_parameters() if name not in left_out]
    slow = [p for name, p in named if name.endswith(_SLOW_PARAMETERS)]
    fast = [p for name, p in named if not name.endswith(_SLOW_PARAMETERS)]
    return [
        {"params": fast, "factor": share, "weight_decay": config.weight_decay},
        {"params": slow, "factor": share * _SLOW_FACTOR, "weight_decay": 0.0},
    ]


def muon_weights(student: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and weights of the Linears and pointwise convolutions, the head's left out: its rows
    are labels, each with a gradient of its own size."""
    for name, module in student.named_modules():
        if _is_matrix(module) and name.split(".")[0] != "head":
            yield f"{name}.weight", module.weight


def _is_matrix(module: Any) -> bool:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return max(module.kernel_size) == 1 and module.groups == 1
    return isinstance(module, nn.Linear)


def averaged(objective: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of an objective, norms' statistics included. The first steps
    are forgotten sooner: decay is at most n / (9 + n) after n steps."""

    def follow(average: Any, current: Any, n_averaged: Any) -> None:
        if not average[0].is_floating_point():  # counts, and columns of labels
            torch._foreach_copy_(average, current)
            return
        n_steps = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, n_steps / (9 + n_steps)))(average, current, None)

    return AveragedModel(objective, multi_avg_fn=follow, use_buffers=True)
