"""Every family of students exports: LiteRT and ONNX Runtime step like PyTorch, state included.

One student with a block of each family stands for all of them, because each export takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from student_zoo import MIXERS, make_mixed_student, random_frames

from edge_audio.backends.base import Backend
from edge_audio.backends.litert import LitertBackend
from edge_audio.backends.onnx import OnnxBackend
from quantize.export.litert import export_litert
from quantize.export.onnx import export_onnx
from quantize.int8 import round_linear_weights
from quantize.parity import step_blocks
from quantize.step import StepGraph

FloatArray = NDArray[np.float32]
N_STEPS = 400


@pytest.fixture(scope="module")
def graph() -> StepGraph:
    return StepGraph(round_linear_weights(make_mixed_student()))


@pytest.fixture(scope="module")
def litert_bytes(graph: StepGraph) -> bytes:
    return export_litert(graph, int8=True)


@pytest.fixture(scope="module")
def stream(graph: StepGraph) -> FloatArray:
    """[T, 64] of noise whose level wanders."""
    frames = random_frames(N_STEPS * 8, seed=5)[0].numpy()
    level = 1.0 + np.sin(np.arange(len(frames)) / 90.0)
    return (level[:, None] * frames).astype(np.float32)


def run(backend: Backend, frames: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
    """Scores [T, n], and every state tensor after the last step."""
    state = backend.initial_state()
    scores = []
    for block in step_blocks(frames, backend.spec.frames_per_step):
        row, state = backend.step(block, state)
        scores.append(row)
    return np.stack(scores), list(state)


class EagerBackend:
    """PyTorch, stepped like the exports."""

    def __init__(self, graph: StepGraph) -> None:
        self.spec, self._student = graph.spec, graph.student

    def initial_state(self) -> Sequence[FloatArray]:
        return [tensor.numpy() for tensor in self._student.initial_state()]

    def step(
        self, frames: FloatArray, state: Sequence[FloatArray]
    ) -> tuple[FloatArray, list[FloatArray]]:
        tensors = [torch.from_numpy(tensor) for tensor in state]
        with torch.inference_mode():
            output, next_state = self._student.step(torch.from_numpy(frames), tensors)
            scores = torch.sigmoid(output.logits)[0].numpy()
        return scores, [tensor.numpy() for tensor in next_state]


@pytest.fixture(scope="module")
def expected(graph: StepGraph, stream: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
    scores, state = run(EagerBackend(graph), stream)
    assert scores.std(0).mean() > 0.1, "scores hardly move: parity would mean nothing"
    return scores, state


def relative_errors(
    graph: StepGraph, actual: Sequence[FloatArray], expected: Sequence[FloatArray]
) -> dict[str, float]:
    """State name -> RMS error over the RMS of what is expected."""
    names = [tensor.name for tensor in graph.spec.state]
    return {
        name: float(np.linalg.norm(a - b) / np.linalg.norm(b))
        for name, a, b in zip(names, actual, expected, strict=True)
    }


def test_onnx_steps_like_pytorch(
    graph: StepGraph, stream: FloatArray, expected: tuple[FloatArray, list[FloatArray]]
) -> None:
    options = SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # as the backend does
    session = InferenceSession(export_onnx(graph, int8=True), options)
    scores, state = run(OnnxBackend(graph.spec, session), stream)
    assert np.abs(scores - expected[0]).max() < 1e-4
    for name, error in relative_errors(graph, state, expected[1]).items():
        assert error < 1e-4, name


def test_litert_steps_like_pytorch(
    graph: StepGraph,
    litert_bytes: bytes,
    stream: FloatArray,
    expected: tuple[FloatArray, list[FloatArray]],
) -> None:
    backend = LitertBackend(graph.spec, Interpreter(model_content=litert_bytes, num_threads=1))
    scores, state = run(backend, stream)
    error = np.abs(scores - expected[0])
    assert error.max() < 0.1
    assert error.mean() < 0.01
    for name, relative in relative_errors(graph, state, expected[1]).items():
        assert relative < 0.1, name


def test_litert_hands_the_whole_step_to_one_delegate(litert_bytes: bytes) -> None:
    interpreter = Interpreter(model_content=litert_bytes, num_threads=1)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1
    assert names[-1] == "DELEGATE"


def test_litert_holds_int8_weights_in_every_linear(graph: StepGraph, litert_bytes: bytes) -> None:
    interpreter = Interpreter(model_content=litert_bytes, num_threads=1)
    interpreter.allocate_tensors()
    dtypes = {d["index"]: d["dtype"] for d in interpreter.get_tensor_details()}
    ops = [op for op in interpreter._get_ops_details() if op["op_name"] == "FULLY_CONNECTED"]
    linears = [m for m in graph.student.modules() if isinstance(m, torch.nn.Linear)]
    assert len(ops) >= len(linears) > len(MIXERS)
    assert all(dtypes[op["inputs"][1]] is np.int8 for op in ops)
