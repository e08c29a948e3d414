"""Ranges of activations and state, measured on long streams that carry their state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from distill.students.state import flatten
from distill.students.student import Student
from edge_audio.backends.base import silence, step_blocks
from edge_audio.support.arrays import FloatArray
from quantize.graph.layers import Range

ACTIVATION_PERCENTILE = 99.0
"""Of the extremes of all steps: one loud step in a hundred may be clipped, so that the others
are rounded less coarsely."""


class Ranges(NamedTuple):
    """inputs, outputs: by name of the Linear or Conv2d. state: largest absolute value by state
    name and index of the first axis after the batch, [1, C, 1, ...]."""

    inputs: dict[str, Range]
    outputs: dict[str, Range]
    state: dict[str, FloatArray]


def measure_ranges(student: Student, streams: Iterable[FloatArray]) -> Ranges:
    """Runs the student over streams of log-mel frames [T, n_mels], each behind the silence that
    streams begin with."""
    extremes: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    peaks: dict[str, FloatArray] = {}
    handles = [
        module.register_forward_hook(_watcher(extremes, name))
        for name, module in student.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    names = [tensor.name for tensor in student.state_specs()]
    for frames in streams:
        for state in _states(student, frames):
            for name, value in zip(names, state, strict=True):
                _raise_peak(peaks, name, value)
    for handle in handles:
        handle.remove()
    sides: dict[str, dict[str, Range]] = {"input": {}, "output": {}}
    for (side, name), rows in extremes.items():
        sides[side][name] = _percentile_range(rows)
    return Ranges(sides["input"], sides["output"], peaks)


def _states(student: Student, frames: FloatArray) -> Iterator[Sequence[Tensor]]:
    state, spec = student.initial_state(), student.model_spec()
    quiet = [silence(spec)] * spec.quiet_steps
    with torch.inference_mode():
        for block in (*quiet, *step_blocks(spec, frames)):
            state = student.step(torch.from_numpy(block), state)[1]
            yield flatten(state)


def _watcher(extremes: dict[tuple[str, str], list[tuple[float, float]]], name: str):  # type: ignore[no-untyped-def]
    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        for side, tensor in (("input", inputs[0]), ("output", output)):
            low, high = torch.aminmax(tensor)
            extremes[side, name].append((float(low), float(high)))

    return watch


def _percentile_range(rows: Sequence[tuple[float, float]]) -> Range:
    lows, highs = np.array(rows).T
    low = np.percentile(lows, 100.0 - ACTIVATION_PERCENTILE)
    return Range(min(0.0, float(low)), max(0.0, float(np.percentile(highs, ACTIVATION_PERCENTILE))))


def _raise_peak(peaks: dict[str, FloatArray], name: str, value: Tensor) -> None:
    """The state is never clipped within what was heard: what is cut off a memory stays wrong."""
    axes = tuple(range(2, value.dim()))
    peak = value.abs().amax(axes, keepdim=True).numpy()
    peaks[name] = np.maximum(peaks[name], peak) if name in peaks else peak
