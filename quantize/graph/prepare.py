"""Checkpoint and scheme -> the step graph that all exporters and all comparisons start from."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from distill.students.student import Student
from edge_audio.errors import UsageError
from quantize.graph.int8 import round_linear_weights
from quantize.graph.layers import StateRounding, StaticConv, StaticLinear
from quantize.graph.ranges import Ranges, measure_ranges
from quantize.graph.step import StepGraph
from quantize.schemes import Scheme


def prepare(
    student: Student, scheme: Scheme, streams: Iterable[NDArray[np.float32]] = ()
) -> StepGraph:
    """The step graph of a student in a scheme. streams: log-mel frames [T, n_mels] that ranges are
    measured on, for schemes that need them. Raises UsageError if there are none."""
    if scheme.weights == "float32":
        return StepGraph(copy.deepcopy(student))
    rounded = round_linear_weights(student).eval()
    if not scheme.needs_ranges:
        return StepGraph(rounded)
    fold_batch_norms(rounded)
    ranges = measure_ranges(rounded, streams)
    if not ranges.inputs:
        raise UsageError(
            "this scheme needs clips to measure ranges on: name their list with --ranges MANIFEST"
        )
    if scheme.activations == "static":
        _replace_layers(rounded, ranges)
    if scheme.state == "float32":
        return StepGraph(rounded)
    roundings = {name: StateRounding(scheme.state, peak) for name, peak in ranges.state.items()}
    return StepGraph(rounded, scheme.state, roundings)


def fold_batch_norms(student: Student) -> None:
    """Makes one convolution of every convolution and the batch norm behind it."""
    for module in student.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(conv, norm)
                module[index + 1] = nn.Identity()


def replace_modules(parent: nn.Module, name: str, new: nn.Module) -> None:
    """Puts `new` in the place of the module with that dotted name."""
    path, _, attribute = name.rpartition(".")
    setattr(parent.get_submodule(path), attribute, new)


def _replace_layers(student: Student, ranges: Ranges) -> None:
    """All but the head, so that scores are not limited to 256 levels of a logit."""
    for name, module in list(student.named_modules()):
        if module is student.head:
            continue
        if isinstance(module, nn.Linear):
            new: nn.Module = StaticLinear(module, ranges.inputs[name], ranges.outputs[name])
        elif isinstance(module, nn.Conv2d):
            new = StaticConv(module, ranges.inputs[name], ranges.outputs[name])
        else:
            continue
        replace_modules(student, name, new)
