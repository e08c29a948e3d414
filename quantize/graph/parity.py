"""Does the exported graph compute what the PyTorch step computes?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from edge_audio.backends import Backend
from edge_audio.backends.base import step_blocks
from edge_audio.backends.golden import rms_errors
from edge_audio.bundle.spec import ModelSpec
from edge_audio.features.frontend import log_mel
from edge_audio.support.arrays import FloatArray
from quantize.graph.step import StepGraph, initial_state


def input_rows(spec: ModelSpec, samples: FloatArray) -> FloatArray:
    """Samples f32[n] -> what steps are cut from: log-mel [T, n_mels], or the samples themselves."""
    return samples if spec.input == "samples" else log_mel(spec.frontend, samples)


class Outputs(NamedTuple):
    """scores f32[n_steps, n_labels]; embedding f32[n_steps, embedding_dim]."""

    scores: FloatArray
    embedding: FloatArray


def errors_by_step(found: Outputs, expected: Outputs) -> Outputs:
    """Of each step f32[n_steps], what the fields of `Tolerance` limit: the largest absolute
    difference of the scores, the root mean square of that of the embedding."""
    scores = np.abs(found.scores - expected.scores).max(1)
    return Outputs(scores, rms_errors(found.embedding, expected.embedding))


def eager_outputs(graph: StepGraph, rows: FloatArray) -> Outputs:
    """`input_rows` -> what the PyTorch step gives."""
    state = initial_state(graph)
    steps = []
    with torch.inference_mode():
        for block in step_blocks(graph.spec, rows):
            outputs = graph(torch.from_numpy(block), **state)
            steps.append([outputs[name][0].numpy() for name in Outputs._fields])
            state = {name: outputs[f"{name}_next"] for name in state}
    return Outputs(*map(np.stack, zip(*steps, strict=True)))


def eager_scores(graph: StepGraph, rows: FloatArray) -> FloatArray:
    """`input_rows` -> scores [n_steps, n_labels] of the PyTorch step."""
    return eager_outputs(graph, rows).scores


def backend_outputs(backend: Backend, rows: FloatArray) -> Outputs:
    """`input_rows` -> what an exported model gives. BundleError if it gives no embedding."""
    state = backend.initial_state()
    steps = []
    for block in step_blocks(backend.spec, rows):
        scores, embedding, state = backend.embed(block, state)
        steps.append((scores, embedding))
    return Outputs(*map(np.stack, zip(*steps, strict=True)))


def backend_scores(backend: Backend, rows: FloatArray) -> FloatArray:
    """`input_rows` -> scores [n_steps, n_labels] of an exported model."""
    state = backend.initial_state()
    scores = []
    for block in step_blocks(backend.spec, rows):
        step_scores, state = backend.step(block, state)
        scores.append(step_scores)
    return np.stack(scores)


def max_error(expected: FloatArray, backend: Backend, rows: FloatArray) -> float:
    """Largest absolute difference from the `eager_scores` of these rows."""
    return float(np.abs(backend_scores(backend, rows) - expected).max())
