"""int8 weights: symmetric, one scale per output channel.

The rounding is done once, here, on the PyTorch model. Exporters then store the same integers,
so every runtime runs the same weights, and the rounded model is the reference for all of them.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.students.student import Student

MAX_INT8 = 127


def quantize_weight(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[n_out, n_in] -> int8[n_out, n_in] and scale f32[n_out], weight ~ int8 * scale."""
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-8) / MAX_INT8
    rounded = np.clip(np.round(weight / scale[:, None]), -MAX_INT8, MAX_INT8)
    return rounded.astype(np.int8), scale.astype(np.float32)


def round_linear_weights(student: Student) -> Student:
    """A copy whose every Linear has weights that int8 represents exactly. Convolutions (5 % of
    the weights) stay float: LiteRT has no int8 kernel for them that XNNPACK can delegate, and
    leaving the delegate costs more time per step than int8 saves."""
    rounded = copy.deepcopy(student)
    for module in rounded.modules():
        if isinstance(module, nn.Linear):
            integers, scale = quantize_weight(module.weight.detach().numpy())
            module.weight.data = torch.from_numpy(integers * scale[:, None])
    return rounded
