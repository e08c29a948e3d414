"""Layers that round as an int8 runtime does, written with the operators every exporter knows.

A pair of `quantize` and `dequantize` marks what a runtime may compute in int8: LiteRT and
ExecuTorch fuse the pairs around a layer into an int8 kernel, ONNX Runtime runs them as they are.
PyTorch computes the same rounding, so that one set of scales holds everywhere.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # registers the operators
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_audio.bundle.spec import DType
from quantize.graph.int8 import MAX_INT8, quantize_weight

QUANTIZED = torch.ops.quantized_decomposed

_INT8 = (-128, 127, torch.int8)
_INT8_WEIGHT = (-MAX_INT8, MAX_INT8, torch.int8)
_MAX_STATE = {"int16": 32_767.0, "int8": 127.0}
_STATE_DTYPE = {"int16": torch.int16, "int8": torch.int8}


class Range(NamedTuple):
    """Values an activation takes; zero is always within."""

    low: float
    high: float

    def scale_and_zero_point(self) -> tuple[float, int]:
        """Of the 256 levels between low and high, one of which is exactly zero."""
        scale = max(self.high - self.low, 1e-6) / 255.0
        return scale, int(np.clip(round(-128 - self.low / scale), -128, 127))


class Rounding(nn.Module):
    """A tensor as int8 would hold it, values outside of the range clipped."""

    def __init__(self, values: Range) -> None:
        super().__init__()
        self.scale, self.zero_point = values.scale_and_zero_point()

    def forward(self, x: Tensor) -> Tensor:
        levels = QUANTIZED.quantize_per_tensor(x, self.scale, self.zero_point, *_INT8)
        return cast(
            "Tensor",
            QUANTIZED.dequantize_per_tensor(levels, self.scale, self.zero_point, *_INT8),
        )


class RoundedWeight(nn.Module):
    """A weight [n_out, ...] rounded per output channel; int8 once an exporter has folded it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows = weight.detach().reshape(len(weight), -1).numpy()
        integers, scale = quantize_weight(rows)
        rounded = (integers * scale[:, None]).reshape(weight.shape)
        self.register_buffer("weight", torch.from_numpy(rounded))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("zero_point", torch.zeros(len(scale), dtype=torch.int64))

    def forward(self) -> Tensor:
        parameters = (self.scale, self.zero_point, 0, *_INT8_WEIGHT)
        integers = QUANTIZED.quantize_per_channel(self.weight, *parameters)
        return cast("Tensor", QUANTIZED.dequantize_per_channel(integers, *parameters))


class WeightOnlyLinear(nn.Module):
    """A Linear with int8 weights and float32 arithmetic."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = RoundedWeight(linear.weight), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(x, self.weight())
        return y if self.bias is None else y + self.bias


class DynamicLinear(nn.Module):
    """A Linear with int8 weights whose input is rounded to int8 by its range in each step."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = RoundedWeight(linear.weight), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        epsilon = torch.finfo(torch.float32).eps
        scale, zero_point = QUANTIZED.choose_qparams.tensor(x, *_INT8[:2], epsilon, torch.int8)
        levels = QUANTIZED.quantize_per_tensor.tensor(x, scale, zero_point, *_INT8)
        rounded = QUANTIZED.dequantize_per_tensor.tensor(levels, scale, zero_point, *_INT8)
        return nn.functional.linear(rounded, self.weight(), self.bias)


class StaticLinear(nn.Module):
    """A Linear computed in int8: weight, input and output rounded."""

    def __init__(self, linear: nn.Linear, inputs: Range, outputs: Range) -> None:
        super().__init__()
        self.weight, self.bias = RoundedWeight(linear.weight), linear.bias
        self.round_input, self.round_output = Rounding(inputs), Rounding(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(self.round_input(x), self.weight(), self.bias)
        return cast("Tensor", self.round_output(y))


class StaticConv(nn.Module):
    """A Conv2d, its batch norm folded in, computed in int8."""

    def __init__(self, conv: nn.Conv2d, inputs: Range, outputs: Range) -> None:
        super().__init__()
        self.weight, self.bias = RoundedWeight(conv.weight), conv.bias
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups
        self.round_input, self.round_output = Rounding(inputs), Rounding(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.conv2d(
            self.round_input(x),
            self.weight(),
            self.bias,
            self.stride,
            self.padding,
            groups=self.groups,
        )
        return cast("Tensor", self.round_output(y))


class StateRounding(nn.Module):
    """A state tensor kept as int16 or int8 between steps: value = integer * scale, with a scale
    for each index of its first axis after the batch."""

    def __init__(self, dtype: DType, limits: NDArray[np.float32]) -> None:
        """limits [1, C, 1, ...]: the largest absolute value that must be kept."""
        super().__init__()
        self.max_integer, self.dtype = _MAX_STATE[dtype], _STATE_DTYPE[dtype]
        scale = np.maximum(limits, 1e-6) / np.float32(self.max_integer)
        self.register_buffer("scale", torch.from_numpy(scale))

    def read(self, integers: Tensor) -> Tensor:
        """What was kept, as float32. It is cast while flat: LiteRT, which moves the channels of
        images about, cannot move integers."""
        values = integers.reshape(1, -1).to(torch.float32).reshape(integers.shape)
        return values * cast("Tensor", self.scale)

    def keep(self, x: Tensor) -> Tensor:
        """Rounded to the nearest integer, halves to even; larger values are clipped."""
        levels = torch.round(x / cast("Tensor", self.scale))
        levels = torch.clamp(levels, -self.max_integer, self.max_integer)
        return levels.reshape(1, -1).to(self.dtype).reshape(x.shape)
