"""Every family of students, in every scheme, on every runtime: scores, embedding and state as in
PyTorch.

One student with a block of each family stands for all of them, because each export takes seconds.
What it hears is real: 10,000 frames where nothing is rounded and where the state is, which adds up,
2,000 elsewhere; for the equality of events ten minutes. Every scheme has two runtimes or all: an
export to ExecuTorch takes a minute, and what a scheme leaves out there is in that of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from edge_audio.backends import BACKEND_NAMES, Backend
from edge_audio.backends.base import step_blocks
from edge_audio.backends.executorch import ExecutorchBackend, load_shim
from edge_audio.backends.litert import LitertBackend
from edge_audio.backends.onnx import OnnxBackend
from edge_audio.bundle.manifest import EMBEDDING_BOUND
from edge_audio.bundle.spec import EventSpec, FrontendSpec, ModelSpec, Threshold
from edge_audio.errors import EdgeAudioError
from edge_audio.events.detector import Event, EventDetector
from edge_audio.features.frontend import log_mel
from edge_audio.support.arrays import FloatArray
from quantize.export import export
from quantize.graph.parity import Outputs, eager_scores, errors_by_step
from quantize.graph.prepare import prepare
from quantize.graph.step import StepGraph, initial_state
from quantize.schemes import SCHEMES
from tests.support.made_once import made_once
from tests.support.real_audio import soundscape
from tests.support.student_zoo import CONFIGS, make_mixed_student, make_student, random_frames

N_FRAMES = {"float": 10_000, "int8-state": 10_000, "int16-state": 10_000}
N_FRAMES_ELSEWHERE = 2_000
N_MOMENTS = 5
EVENTS_S = 600.0
SAME_EVENTS = ("float", "weight-only")
"""Schemes without rounded activations. Elsewhere a runtime that rounds one activation the other
way is a little apart from then on, and events near a threshold may differ."""

RELATIVE_STATE_ERROR = {"float": 1e-3, "weight-only": 1e-3}
RUNTIMES = [name for name in BACKEND_NAMES if name != "native"]
"""Those that run the exported graph; the engine has tests of its own."""
WITHOUT_EXECUTORCH = [name for name in RUNTIMES if name != "executorch"]
RUNTIMES_OF = dict.fromkeys(SCHEMES, RUNTIMES) | {
    "float": WITHOUT_EXECUTORCH,  # weight-only has all its operators, and two more
    "static": WITHOUT_EXECUTORCH,  # int8-state has all its operators
}

MEAN_ERROR = {"float": 1e-5, "weight-only": 1e-5, "dynamic": 0.01}
STATIC_MEAN_ERROR = 0.03


@lru_cache(maxsize=len(SCHEMES))
def graph_of(scheme: str) -> StepGraph:
    calibration = random_frames(8 * 400, seed=7)[0].numpy()
    return prepare(make_mixed_student(), SCHEMES[scheme], [calibration])


Exported = Callable[[str, str], bytes]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """(scheme, runtime) -> the content of the file."""

    def content_of(scheme: str, runtime: str) -> bytes:
        def make(folder: Path) -> None:
            content = export(runtime, graph_of(scheme), SCHEMES[scheme])
            (folder / "content").write_bytes(content)

        folder = made_once(tmp_path_factory, f"families-{scheme}-{runtime}", make)
        return (folder / "content").read_bytes()

    return content_of


def open_exported(spec: ModelSpec, runtime: str, content: bytes) -> Backend:
    if runtime == "litert":
        return LitertBackend(spec, Interpreter(model_content=content, num_threads=1))
    if runtime == "executorch":
        return ExecutorchBackend(spec, content, load_shim())
    options = SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # as the backend does
    return OnnxBackend(spec, InferenceSession(content, options))


@pytest.fixture(scope="module")
def frames(data_dir: Path) -> FloatArray:
    """Ten minutes of real audio as log-mel frames [T, 64], spread like the norms expect."""
    samples = soundscape(data_dir, EVENTS_S).astype(np.float32) / 32768.0
    rows = log_mel(FrontendSpec(), samples)
    normed: NDArray[np.float32] = (rows - rows.mean(0)) / rows.std(0)
    return normed


def run(backend: Backend, rows: FloatArray) -> tuple[Outputs, list[np.ndarray]]:
    """Scores [T, n] and embedding [T, E], and every state tensor [n_moments, ...] at some moments,
    the last step among them: what rounding leaves between two runtimes differs from one moment to
    the next."""
    state = backend.initial_state()
    steps, moments = [], []
    blocks = list(step_blocks(backend.spec, rows))
    for number, block in enumerate(blocks, start=1):
        scores, embedding, state = backend.embed(block, state)
        steps.append((scores, embedding))
        if number * N_MOMENTS // len(blocks) > (number - 1) * N_MOMENTS // len(blocks):
            moments.append([np.array(tensor) for tensor in state])
    outputs = Outputs(*map(np.stack, zip(*steps, strict=True)))
    return outputs, [np.stack(tensor) for tensor in zip(*moments, strict=True)]


class EagerBackend:
    """PyTorch, stepped like the exports."""

    name = "pytorch"

    def __init__(self, graph: StepGraph) -> None:
        self.spec, self._graph = graph.spec, graph

    def initial_state(self) -> list[np.ndarray]:
        return [tensor.numpy() for tensor in initial_state(self._graph).values()]

    def embed(
        self, frames: FloatArray, state: Sequence[np.ndarray]
    ) -> tuple[FloatArray, FloatArray, list[np.ndarray]]:
        names = [tensor.name for tensor in self.spec.state]
        tensors = {name: torch.from_numpy(x) for name, x in zip(names, state, strict=True)}
        with torch.inference_mode():
            outputs = self._graph(torch.from_numpy(frames), **tensors)
        scores, embedding = (outputs[name][0].numpy() for name in Outputs._fields)
        return scores, embedding, [outputs[f"{name}_next"].numpy() for name in names]


def first(scheme: str, frames: FloatArray) -> FloatArray:
    return frames[: N_FRAMES.get(scheme, N_FRAMES_ELSEWHERE)]


InPyTorch = Callable[[str], tuple[Outputs, list[np.ndarray]]]


@pytest.fixture(scope="module")
def in_pytorch(frames: FloatArray, tmp_path_factory: pytest.TempPathFactory) -> InPyTorch:
    """Scheme -> outputs and states, computed once for all runtimes."""

    def compute(scheme: str) -> tuple[Outputs, list[np.ndarray]]:
        def make(folder: Path) -> None:
            backend = EagerBackend(graph_of(scheme))
            outputs, state = run(backend, first(scheme, frames))  # type: ignore[arg-type]
            np.savez(folder / "outputs.npz", *outputs, *state)

        folder = made_once(tmp_path_factory, f"families-{scheme}-pytorch", make)
        with np.load(folder / "outputs.npz") as file:
            scores, embedding, *state = file.values()
        return Outputs(scores, embedding), state

    return compute


@pytest.mark.parametrize(
    ("scheme", "runtime"),
    [(scheme, runtime) for scheme in SCHEMES for runtime in RUNTIMES_OF[scheme]],
)
def test_scores_embedding_and_state_follow_pytorch_over_long_streams(
    scheme: str, runtime: str, frames: FloatArray, in_pytorch: InPyTorch, exported: Exported
) -> None:
    graph, (expected, expected_state) = graph_of(scheme), in_pytorch(scheme)
    assert expected.scores.std(0).mean() > 0.05, "scores hardly move: parity would mean nothing"
    assert expected.embedding.std(0).mean() > 0.05
    backend = open_exported(graph.spec, runtime, exported(scheme, runtime))
    found, state = run(backend, first(scheme, frames))
    by_step = errors_by_step(found, expected)
    for part, reach in (("scores", 1.0), ("embedding", EMBEDDING_BOUND)):
        error = np.abs(getattr(found, part) - getattr(expected, part))
        assert error.mean() < reach * MEAN_ERROR.get(scheme, STATIC_MEAN_ERROR), part
        if scheme in SAME_EVENTS:
            assert getattr(by_step, part).max() <= getattr(SCHEMES[scheme].tolerance, part), part
    for tensor, a, b in zip(graph.spec.state, state, expected_state, strict=True):
        assert a.dtype == b.dtype == tensor.dtype
        size = float(np.linalg.norm(b.astype(float)))
        relative = float(np.linalg.norm(a.astype(float) - b)) / max(size, 1e-9)
        assert relative < RELATIVE_STATE_ERROR.get(scheme, 0.35), tensor.name


@pytest.mark.parametrize("runtime", ["litert", "onnx"])
def test_the_control_with_attention_follows_pytorch_with_its_cache(runtime: str) -> None:
    """The engine has no code for it: it is no part of the student that stands for all families."""
    scheme = "weight-only"
    graph = prepare(make_student(CONFIGS["attention"]), SCHEMES[scheme])
    rows = random_frames(N_FRAMES_ELSEWHERE)[0].numpy()
    expected, expected_state = run(EagerBackend(graph), rows)  # type: ignore[arg-type]
    content = export(runtime, graph, SCHEMES[scheme])
    found, state = run(open_exported(graph.spec, runtime, content), rows)
    assert expected.scores.std(0).mean() > 0.05, "scores hardly move: parity would mean nothing"
    by_step = errors_by_step(found, expected)
    for part in ("scores", "embedding"):
        assert getattr(by_step, part).max() <= getattr(SCHEMES[scheme].tolerance, part), part
    for tensor, a, b in zip(graph.spec.state, state, expected_state, strict=True):
        relative = float(np.linalg.norm(a - b)) / float(np.linalg.norm(b))
        assert relative < RELATIVE_STATE_ERROR[scheme], tensor.name


def timeline(scores: FloatArray, thresholds: FloatArray) -> list[Event]:
    labels = [f"label {index}" for index in range(scores.shape[1])]
    spec = EventSpec(
        smoothing_s=0.16,
        min_on_s=0.08,
        min_off_s=0.4,
        thresholds={
            label: Threshold(on=float(on), off=0.7 * float(on))
            for label, on in zip(labels, thresholds, strict=True)
        },
    )
    detector = EventDetector(labels, spec, 0.08)
    events = [event for k, row in enumerate(scores) for event in detector.push(row, 0.08 * k)]
    return events + detector.flush(0.08 * len(scores))


@pytest.mark.parametrize("scheme", SAME_EVENTS)
def test_events_are_equal_on_every_runtime_over_ten_minutes(
    scheme: str, frames: FloatArray, exported: Exported
) -> None:
    spec = graph_of(scheme).spec
    backends = [
        open_exported(spec, runtime, exported(scheme, runtime)) for runtime in RUNTIMES_OF[scheme]
    ]
    scores = [run(backend, frames)[0].scores for backend in backends]
    thresholds = np.quantile(scores[0], 0.9, axis=0)
    first, *others = (
        [(event.kind, event.label, event.time_s) for event in timeline(rows, thresholds)]
        for rows in scores
    )
    assert len(first) > 200
    for other in others:
        assert other == first


def test_weight_only_is_a_rounding_of_float_and_all_others_of_it(frames: FloatArray) -> None:
    """Coarser schemes are further from float: a scheme that rounds nothing would show."""
    rows = frames[:1_200]
    flo = eager_scores(graph_of("float"), rows)
    apart = {name: np.abs(eager_scores(graph_of(name), rows) - flo).mean() for name in SCHEMES}
    assert apart["float"] == 0.0
    assert 0.0 < apart["weight-only"] < apart["static"]
    assert apart["static"] != apart["int16-state"] != apart["int8-state"]
    assert apart["int16-state"] < apart["int8-state"]


@pytest.mark.parametrize("scheme", ["float", "weight-only", "dynamic"])
def test_litert_hands_the_whole_step_to_one_delegate(scheme: str, exported: Exported) -> None:
    names = [op["op_name"] for op in _operators(exported(scheme, "litert"))[0]]
    assert names.count("DELEGATE") == 1
    assert names[-1] == "DELEGATE"


@pytest.mark.parametrize("scheme", ["weight-only", "dynamic"])
def test_litert_holds_int8_weights_in_every_linear(scheme: str, exported: Exported) -> None:
    operators, dtypes = _operators(exported(scheme, "litert"))
    n_int8 = sum(dtype is np.int8 for dtype in dtypes.values())
    linears = [m for m in graph_of(scheme).modules() if isinstance(m, torch.nn.Linear)]
    assert n_int8 >= len(linears)
    if scheme == "dynamic":
        layers = [op for op in operators if op["op_name"] == "FULLY_CONNECTED"]
        assert all(dtypes[op["inputs"][1]] is np.int8 for op in layers)


def _operators(content: bytes) -> tuple[list[dict[str, Any]], dict[int, type]]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    dtypes = {d["index"]: d["dtype"] for d in interpreter.get_tensor_details()}
    return interpreter._get_ops_details(), dtypes  # noqa: SLF001 - LiteRT has no other


def test_executorch_refuses_what_leaves_its_delegate_by_operator_and_rewrite() -> None:
    graph = prepare(make_student(CONFIGS["conv"]), SCHEMES["float"])
    graph.student.set_submodule("norm", _Cumulative(graph.student.norm))
    with pytest.raises(EdgeAudioError, match=r"ExecuTorch cannot express .*cumsum.*triangular"):
        export("executorch", graph, SCHEMES["float"])


def test_litert_refuses_a_running_maximum_by_operator_and_rewrite() -> None:
    graph = prepare(make_student(CONFIGS["conv"]), SCHEMES["float"])
    graph.student.set_submodule("norm", _RunningMaximum(graph.student.norm))
    with pytest.raises(EdgeAudioError, match=r"LiteRT cannot express cummax.*torch\.maximum"):
        export("litert", graph, SCHEMES["float"])


class _Cumulative(torch.nn.Module):
    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums: torch.Tensor = self.norm(x).cumsum(1)
        return sums


class _RunningMaximum(_Cumulative):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        highest: torch.Tensor = self.norm(x).cummax(1).values
        return highest
