"""model.h: its numbers are those of the student, and they are all that a step needs."""

from __future__ import annotations

import copy
import ctypes
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from student_zoo import CONFIGS, make_mixed_student, make_student, random_frames
from torch import nn

from distill.students.conv import CausalTCN
from distill.students.lti import DiagonalSSM
from distill.students.mixer import Mixer
from distill.students.mlstm import MLSTM
from distill.students.selective import SelectiveSSM
from distill.students.slstm import SLSTM
from distill.students.tagger import Student
from edge_audio.errors import EdgeAudioError
from edge_audio.frontend import hann_window, log_mel, mel_weights
from edge_audio.spec import FrontendSpec
from quantize.export.c import export_c
from quantize.parity import eager_scores, step_blocks
from quantize.prepare import prepare
from quantize.schemes import SCHEMES
from quantize.step import SampleStepGraph, StepGraph

FloatArray = NDArray[np.float32]
Expected = dict[str, "NDArray[Any] | float"]
"""C expression -> its value: an array, or a number."""

STEP = Path(__file__).with_name("step_from_header.c")
FLAGS = "-std=c99 -O2 -ffp-contract=off -Wall -Wextra -Wconversion -Wpedantic -Werror -shared -fPIC"
HELD = ("float", "weight-only", "dynamic")
STRUCTS = {
    DiagonalSSM: "ea_lti",
    SelectiveSSM: "ea_selective",
    MLSTM: "ea_mlstm",
    SLSTM: "ea_slstm",
    CausalTCN: "ea_tcn",
}

Compile = Callable[[bytes, str], ctypes.CDLL]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """(model.h, C text that includes it) -> the two as a shared object, without any warning."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: apt-get install gcc")

    def build(header: bytes, text: str) -> ctypes.CDLL:
        (tmp_path / "model.h").write_bytes(header)
        (tmp_path / "program.c").write_text(text)
        program = f"program_{len(list(tmp_path.glob('*.so')))}.so"  # one name is loaded only once
        command = [compiler, *FLAGS.split(), "program.c", "-o", program, "-lm"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(tmp_path / program))

    return build


@lru_cache(maxsize=len(HELD))
def mixed_graph(scheme: str) -> StepGraph:
    return prepare(make_mixed_student(), SCHEMES[scheme])


def header_of(graph: StepGraph, scheme: str) -> bytes:
    return export_c(graph, SCHEMES[scheme])


def read_back(compiled: Compile, header: bytes, expected: Expected) -> Expected:
    """What the expressions come to in C, arrays in the sizes and types of the expected ones."""
    getters = ['#include "model.h"']
    for index, (expression, value) in enumerate(expected.items()):
        c_type = "const void *" if isinstance(value, np.ndarray) else "double"
        getters.append(f"{c_type} get_{index}(void);")
        getters.append(f"{c_type} get_{index}(void) {{ return {expression}; }}")
    library = compiled(header, "\n".join(getters) + "\n")
    return {
        expression: _value(getattr(library, f"get_{index}"), value)
        for index, (expression, value) in enumerate(expected.items())
    }


def _value(getter: Any, expected: NDArray[Any] | float) -> NDArray[Any] | float:
    if not isinstance(expected, np.ndarray):
        getter.restype = ctypes.c_double
        return float(getter())
    getter.restype = ctypes.c_void_p
    content = ctypes.string_at(getter(), expected.nbytes)
    return np.frombuffer(content, expected.dtype).reshape(expected.shape)


def assert_equal(compiled: Compile, header: bytes, expected: Expected) -> None:
    found = read_back(compiled, header, expected)
    for expression, value in expected.items():
        np.testing.assert_array_equal(found[expression], value, err_msg=expression)


def numbers(tensor: torch.Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.detach().numpy())


def mixer_tensors(mixer: Mixer) -> dict[str, torch.Tensor]:
    """The struct members that are arrays, skip aside."""
    if isinstance(mixer, DiagonalSSM):
        cos, sin, gain = mixer.rotation()
        real, imag = mixer.readout
        return {"cos": cos, "sin": sin, "gain": gain, "real": real, "imag": imag}
    if isinstance(mixer, SelectiveSSM):
        return {"decay_bias": -mixer.log_decay}
    if isinstance(mixer, MLSTM):
        return {"forget_bias": -mixer.log_decay}
    if isinstance(mixer, SLSTM):
        return {"weight": mixer.weight, "forget_bias": -mixer.log_decay}
    assert isinstance(mixer, CausalTCN)
    layers = enumerate(mixer.convs)
    return {
        f"layers[{index}].{name}": getattr(conv, name)
        for index, conv in layers
        for name in ("weight", "bias")
    }


def mixer_numbers(mixer: Mixer) -> dict[str, float]:
    """The struct members that are numbers, offsets aside."""
    found: dict[str, float] = {}
    if isinstance(mixer, DiagonalSSM):
        found["n_modes"] = mixer.readout.shape[2]
    if isinstance(mixer, SelectiveSSM | MLSTM):
        found |= {"n_heads": mixer.value_shape[0], "n_keys": mixer.widths[0]}
    if isinstance(mixer, MLSTM):
        found |= {"key_scale": float(np.float32(mixer.key_scale)), "max_logit": 10.0}
    if isinstance(mixer, SLSTM):
        found |= {"n_heads": mixer.head_shape[0], "max_logit": 8.0, "output_scale": 3.0}
    if isinstance(mixer, SelectiveSSM | MLSTM | SLSTM):
        found["max_decay"] = float(np.float32(mixer.max_decay))
    if isinstance(mixer, CausalTCN):
        found["n_layers"] = len(mixer.convs)
    return found


def mixer_pointers(student: Student) -> list[str]:
    """A C expression for each block's mixer in its own type."""
    names = [
        next(name for kind, name in STRUCTS.items() if isinstance(block.mixer, kind))
        for block in student.blocks
    ]
    return [f"((const {name} *)ea_blocks[{i}].mixer)" for i, name in enumerate(names)]


def test_every_array_of_the_mixers_is_the_students(compiled: Compile) -> None:
    graph = mixed_graph("weight-only")
    expected: Expected = {}
    pointers = mixer_pointers(graph.student)
    for block, pointer in zip(graph.student.blocks, pointers, strict=True):
        tensors = {**mixer_tensors(block.mixer), "skip": block.mixer.skip}
        expected |= {f"{pointer}->{name}": numbers(x) for name, x in tensors.items()}
        members = mixer_numbers(block.mixer).items()
        expected |= {f"{pointer}->{name}": value for name, value in members}
    assert_equal(compiled, header_of(graph, "weight-only"), expected)


def linears(student: Student) -> dict[str, nn.Linear]:
    """C expression -> layer, for every Linear."""
    named = {"ea_stem_project": student.stem.project}
    named |= {"ea_embed": student.embed, "ea_head": student.head}
    for index, (block, mixer) in enumerate(
        zip(student.blocks, mixer_pointers(student), strict=True)
    ):
        named[f"ea_blocks[{index}].mix"] = block.mix
        if hasattr(block.mixer, "project"):
            named[f"{mixer}->project"] = block.mixer.project
    assert len(named) == sum(isinstance(m, nn.Linear) for m in student.modules())
    return named


@pytest.mark.parametrize("scheme", HELD)
def test_integers_times_scales_are_the_rounded_weights_to_the_bit(
    compiled: Compile, scheme: str
) -> None:
    graph = mixed_graph(scheme)
    weight_type = np.float32 if scheme == "float" else np.int8
    shapes: Expected = {}
    for name, linear in linears(graph.student).items():
        shapes |= {f"{name}.n_in": linear.in_features, f"{name}.n_out": linear.out_features}
        shapes[f"{name}.weight"] = np.zeros(linear.weight.shape, weight_type)
        shapes |= {f"{name}.{part}": numbers(linear.bias) for part in ("scale", "bias")}
    found = read_back(compiled, header_of(graph, scheme), shapes)
    for name, linear in linears(graph.student).items():
        weight, scale = found[f"{name}.weight"], found[f"{name}.scale"]
        assert isinstance(weight, np.ndarray)
        assert isinstance(scale, np.ndarray)
        np.testing.assert_array_equal(weight * scale[:, None], numbers(linear.weight), name)
        np.testing.assert_array_equal(found[f"{name}.bias"], numbers(linear.bias), name)
        assert (found[f"{name}.n_out"], found[f"{name}.n_in"]) == linear.weight.shape
        assert scheme != "float" or (scale == 1.0).all()


def test_convolutions_with_folded_norms_follow_the_stems_own(compiled: Compile) -> None:
    """Each kernel and bias, from the definition of a batch norm in double precision."""
    graph = mixed_graph("float")
    expected: Expected = {}
    exact: Expected = {}
    for index, conv in enumerate(graph.student.stem.convs):
        layers = [m for m in conv.layers if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
        for name, filters, norm in zip(("kernel", "mix"), layers[::2], layers[1::2], strict=False):
            scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            kernel = filters.weight.double() * scale[:, None, None, None]
            bias = norm.bias.double() - scale * norm.running_mean.double()
            expected[f"ea_stem[{index}].{name}"] = numbers(kernel.float())
            expected[f"ea_stem[{index}].{name}_bias"] = numbers(bias.float())
        filters = layers[0]
        exact[f"ea_stem[{index}].n_in"] = filters.groups
        exact[f"ea_stem[{index}].n_filters"] = filters.out_channels
        exact[f"ea_stem[{index}].stride"] = filters.stride[0]
        exact[f"ea_stem[{index}].context"] = conv.context
        exact[f"ea_stem[{index}].residual"] = conv.residual
    header = header_of(graph, "float")
    for expression, value in read_back(compiled, header, expected).items():
        np.testing.assert_allclose(value, expected[expression], 1e-6, 1e-6, err_msg=expression)
    assert_equal(compiled, header, exact)


def test_block_norms_are_a_scale_and_a_shift(compiled: Compile) -> None:
    student = mixed_graph("float").student
    norms = {f"ea_blocks[{i}].norm_": block.norm for i, block in enumerate(student.blocks)}
    norms["ea_norm_"] = student.norm
    expected: Expected = {}
    for name, original in norms.items():
        norm = copy.deepcopy(original).double()
        shift = norm(torch.zeros(1, norm.num_features).double())
        scale = norm(torch.ones(1, norm.num_features).double()) - shift
        expected |= {f"{name}scale": numbers(scale.float()), f"{name}shift": numbers(shift.float())}
    header = header_of(mixed_graph("float"), "float")
    for expression, value in read_back(compiled, header, expected).items():
        np.testing.assert_allclose(value, expected[expression], 1e-6, 1e-7, err_msg=expression)


def test_front_end_constants_are_those_of_the_python_front_end(compiled: Compile) -> None:
    front = FrontendSpec()
    weights = mel_weights(front)
    turns = 2.0 * np.pi * np.arange(256) / 512
    expected: Expected = {
        "ea_window": hann_window(400),
        "ea_fft_cos": np.cos(turns).astype(np.float32),
        "ea_fft_sin": np.sin(turns).astype(np.float32),
        "ea_mel_first": (weights > 0).argmax(0).astype(np.uint16),
        "ea_mel_count": (weights > 0).sum(0).astype(np.uint16),
        "ea_mel_weight": weights.T[weights.T > 0],
        "EA_LOG_FLOOR": float(np.float32(front.log_floor)),
        "EA_LOG_MEAN": front.log_mean,
        "EA_LOG_GAIN": float(np.float32(1.0 / front.log_scale)),
    }
    assert_equal(compiled, header_of(mixed_graph("float"), "float"), expected)


def test_sizes_are_those_of_the_spec(compiled: Compile) -> None:
    graph = mixed_graph("weight-only")
    n_state = sum(int(np.prod(tensor.shape)) for tensor in graph.spec.state)
    sizes = {"N_LABELS": 20, "N_MELS": 64, "FRAMES_PER_STEP": 8, "CHANNELS": 16, "N_BLOCKS": 6}
    sizes |= {"EMBEDDING_DIM": 12, "N_CONVS": 4, "STEP_SAMPLES": 1280, "OVERLAP_SAMPLES": 240}
    sizes |= {"WINDOW_SAMPLES": 400, "HOP_SAMPLES": 160, "FFT_SIZE": 512, "SAMPLE_RATE_HZ": 16000}
    sizes |= {"STATE_ELEMENTS": n_state, "STATE_BYTES": 4 * n_state, "LATENCY_MS": 135, "BOUND": 6}
    expected: Expected = {f"EA_{name}": float(size) for name, size in sizes.items()}
    assert_equal(compiled, header_of(graph, "weight-only"), expected)


def stepped_scores(library: ctypes.CDLL, graph: StepGraph, rows: FloatArray) -> FloatArray:
    """Scores [n_steps, n_labels] of the C program, over the same blocks as `eager_scores`."""
    state = np.zeros(sum(int(np.prod(t.shape)) for t in graph.spec.state), np.float32)
    scores = []
    for block in step_blocks(graph.spec, rows):
        row = np.zeros(graph.spec.scores.shape[1], np.float32)
        library.step(pointer(block), pointer(state), pointer(row))
        scores.append(row)
    return np.stack(scores)


def pointer(values: FloatArray) -> Any:
    return values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def assert_same_scores(compiled: Compile, graph: StepGraph, scheme: str) -> None:
    rows = random_frames(8 * 200)[0].numpy()
    expected = eager_scores(graph, rows)
    assert expected.std(0).mean() > 0.05, "scores hardly move: equality would mean nothing"
    library = compiled(header_of(graph, scheme), STEP.read_text())
    np.testing.assert_allclose(stepped_scores(library, graph, rows), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_c_program_with_the_header_alone_computes_the_step(
    compiled: Compile, family: str
) -> None:
    graph = prepare(make_student(CONFIGS[family]), SCHEMES["weight-only"])
    assert_same_scores(compiled, graph, "weight-only")


@pytest.mark.parametrize("scheme", HELD)
def test_a_c_program_computes_a_block_of_each_family(compiled: Compile, scheme: str) -> None:
    assert_same_scores(compiled, mixed_graph(scheme), scheme)


def test_a_c_program_with_the_header_alone_computes_the_front_end(compiled: Compile) -> None:
    front = FrontendSpec()
    samples = np.random.default_rng(0).normal(0.0, 0.1, 400 + 19 * 160).astype(np.float32)
    samples[800:1600] = 0.0  # where the floor is all that is left
    library = compiled(header_of(mixed_graph("float"), "float"), STEP.read_text())
    found = np.zeros((20, 64), np.float32)
    for row, start in zip(found, range(0, 20 * 160, 160), strict=True):
        library.log_mel(pointer(samples[start:]), pointer(row))
    np.testing.assert_allclose(found, log_mel(front, samples), rtol=0, atol=1e-4)


def test_the_same_student_gives_the_same_bytes() -> None:
    graph = mixed_graph("weight-only")
    first = header_of(graph, "weight-only")
    assert first == header_of(graph, "weight-only")
    assert first == header_of(prepare(make_mixed_student(), SCHEMES["dynamic"]), "dynamic")
    assert first.isascii()


def test_export_leaves_the_graph_as_it_was() -> None:
    graph = prepare(make_mixed_student(), SCHEMES["weight-only"])
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    header_of(graph, "weight-only")
    after = graph.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - set(HELD)))
def test_a_scheme_that_it_cannot_hold_is_refused_with_the_cure(scheme: str) -> None:
    with pytest.raises(
        EdgeAudioError, match=r"float, weight-only or dynamic, .*LiteRT, ONNX or Ex"
    ):
        header_of(mixed_graph("float"), scheme)


def test_a_graph_that_is_fed_samples_is_refused_with_the_cure() -> None:
    with pytest.raises(EdgeAudioError, match="export the one that is fed frames"):
        header_of(SampleStepGraph(mixed_graph("float")), "float")


def test_weights_of_another_scheme_are_refused_rather_than_rounded() -> None:
    with pytest.raises(EdgeAudioError, match="stem_project is not rounded to int8: prepare it"):
        header_of(mixed_graph("float"), "weight-only")


def test_a_student_that_is_not_finite_is_refused_by_name() -> None:
    graph = prepare(make_mixed_student(), SCHEMES["float"])
    graph.student.head.bias.data[3] = torch.nan
    with pytest.raises(EdgeAudioError, match="head_bias of this student is not finite"):
        header_of(graph, "float")


def test_an_unknown_mixer_is_refused_by_name() -> None:
    class Silence(Mixer):
        def __init__(self) -> None:
            super().__init__()
            self.state_shapes = {}

        def forward(self, u: torch.Tensor) -> torch.Tensor:
            return 0.0 * u

        def step(self, u: torch.Tensor, state: Any) -> tuple[torch.Tensor, tuple[()]]:
            return 0.0 * u, ()

    graph = prepare(make_mixed_student(), SCHEMES["float"])
    graph.student.blocks[0].mixer = Silence()
    with pytest.raises(EdgeAudioError, match="no type for the mixer Silence: add one"):
        header_of(graph, "float")
