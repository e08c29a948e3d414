"""Batch norms whose output is bounded, the same numbers in training and in a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def bounded_norm(norm: nn.Module, x: Tensor, low: float, high: float) -> Tensor:
    """norm(x [..., C]), clipped to low .. high."""
    rows = x.reshape(-1, x.shape[-1])
    if not _can_fuse(norm, x):
        return functional.hardtanh(norm(rows).view_as(x), low, high)
    return _fused(norm, rows, low, high).view_as(x)


def bounded_norm_2d(norm: nn.Module, x: Tensor, low: float, high: float) -> Tensor:
    """norm(x [B, C, T, F]), clipped to low .. high."""
    if not _can_fuse(norm, x):
        return functional.hardtanh(norm(x), low, high)
    last = x.permute(0, 2, 3, 1)  # as it lies in memory
    rows = _fused(norm, last.reshape(-1, x.shape[1]), low, high)
    return rows.view(last.shape).permute(0, 3, 1, 2)


def _can_fuse(norm: nn.Module, x: Tensor) -> bool:
    """Whether `fused_norm` does it: training with a usual batch norm, in float32 on a CPU."""
    is_usual = isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.momentum is not None
    return is_usual and norm.training and x.device.type == "cpu" and x.dtype == torch.float32


def _fused(norm: Any, rows: Tensor, low: float, high: float) -> Tensor:
    from distill.students.fused_norm import FusedNorm  # compiles, which listening never needs

    y, mean, variance = FusedNorm.apply(  # type: ignore[no-untyped-call]
        rows.contiguous(), norm.weight, norm.bias, norm.eps, low, high
    )
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (len(rows) / (len(rows) - 1)), norm.momentum)
        norm.num_batches_tracked.add_(1)
    return y  # type: ignore[no-any-return]
