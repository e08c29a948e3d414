"""Which optimiser moves which weights: AdamW all of them, or Muon the matrices and AdamW the rest.

Each group of parameters has a `factor`, by which its learning rate differs from the schedule's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill.training.objective import Objective
from distill.training.recipe import TrainingConfig

_SLOW_PARAMETERS = ("log_decay", "angle")  # the recurrence: lower rate, no weight decay
_SLOW_FACTOR = 0.3


class Muon(torch.optim.Muon):
    """PyTorch's Muon (Jordan 2024), its updates as large as AdamW's (Liu et al. 2025, 0.2 times
    the root of the longer side), for weights [out, in] and those of pointwise convolutions
    [out, in, 1, ...], which it sees as matrices."""

    def __init__(self, weights: Sequence[nn.Parameter], weight_decay: float) -> None:
        self._weights = list(weights)
        matrices = [weight.detach().view(len(weight), -1) for weight in weights]
        super().__init__(
            [{"params": matrices, "factor": 1.0}],
            weight_decay=weight_decay,
            momentum=0.95,
            nesterov=True,
            ns_steps=5,
            adjust_lr_fn="match_rms_adamw",
        )

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Moves the weights by their gradients; what has none stays."""
        for matrix, weight in zip(self.param_groups[0]["params"], self._weights, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        loss: float | None = super().step(closure)  # type: ignore[no-untyped-call]
        return loss


def make_optimizers(
    objective: Objective, config: TrainingConfig
) -> dict[str, torch.optim.Optimizer]:
    """By name, as checkpoints keep their states. The objective must be where it is trained."""
    if config.optimizer == "adamw":
        return {"optimizer": torch.optim.AdamW(_adamw_groups(objective, config, {}, 1.0))}
    matrices = dict(_matrices(objective.student))
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


def _matrices(student: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
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
