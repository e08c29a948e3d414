"""What a student costs: parameters, and multiplications per second of audio."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from distill.students.student import Student


def count_parameters(student: Student) -> int:
    """Trainable numbers, the head left out: its size is the number of labels'."""
    n_head = sum(p.numel() for p in student.head.parameters())
    return sum(p.numel() for p in student.parameters()) - n_head


def count_mmac_per_s(student: Student) -> float:
    """Million multiply-accumulates of the streaming step per second of audio, without the head:
    matrix products, convolutions, and elementwise products such as those of a recurrence.

    Counted as the difference between a batch of two and one, so that arithmetic on the weights
    alone, which an export does once, is left out.
    """
    n_head = student.head.weight.numel()
    n_per_step = _step_multiplications(student, 2) - _step_multiplications(student, 1) - n_head
    return n_per_step / student.token_s / 1e6


class _ProductCounter(TorchDispatchMode):
    """Counts the elements of elementwise products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.mul.Tensor and isinstance(result, Tensor):
            self.n_products += result.numel()
        return result


def _step_multiplications(student: Student, batch_size: int) -> int:
    was_training = student.training
    n_mels = student.config.frontend.n_mels
    frames = torch.zeros(batch_size, student.frames_per_step, n_mels)
    student.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as matrices, _ProductCounter() as other:
        student.step(frames, student.initial_state(batch_size))
    student.train(was_training)
    n_products: int = int(matrices.get_total_flops()) // 2 + other.n_products
    return n_products
