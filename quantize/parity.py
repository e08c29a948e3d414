"""Does the exported graph compute what the PyTorch step computes?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from edge_audio.backends import Backend
from quantize.step import StepGraph, zero_inputs

FloatArray = NDArray[np.float32]


def eager_scores(graph: StepGraph, frames: FloatArray) -> FloatArray:
    """Log-mel [T, n_mels] -> scores [T // frames_per_step, n_labels] of the PyTorch step."""
    state = zero_inputs(graph.spec)
    state.pop(graph.spec.frames.name)
    scores = []
    with torch.inference_mode():
        for block in step_blocks(frames, graph.spec.frames_per_step):
            outputs = graph(torch.from_numpy(block), **state)
            scores.append(outputs["scores"][0].numpy())
            state = {name: outputs[f"{name}_next"] for name in state}
    return np.stack(scores)


def backend_scores(backend: Backend, frames: FloatArray) -> FloatArray:
    """The same through an exported model."""
    state = backend.initial_state()
    scores = []
    for block in step_blocks(frames, backend.spec.frames_per_step):
        step_scores, state = backend.step(block, state)
        scores.append(step_scores)
    return np.stack(scores)


def step_blocks(frames: FloatArray, frames_per_step: int) -> Iterator[FloatArray]:
    """[T, n_mels] -> contiguous [1, frames_per_step, n_mels] blocks; a rest is left out."""
    for start in range(0, len(frames) - frames_per_step + 1, frames_per_step):
        yield np.ascontiguousarray(frames[None, start : start + frames_per_step])


def max_error(expected: FloatArray, backend: Backend, frames: FloatArray) -> float:
    """Largest absolute difference from the `eager_scores` of these frames."""
    return float(np.abs(backend_scores(backend, frames) - expected).max())
