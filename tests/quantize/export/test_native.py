"""engine.bin: the engine computes a student's scores from it, and its integers are the student's
own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edge_audio.backends.engine_library import is_available, load_engine
from edge_audio.backends.golden import ENGINE_TOLERANCE, tolerance_of
from edge_audio.backends.native import NativeBackend
from edge_audio.bundle.manifest import EMBEDDING_BOUND
from edge_audio.bundle.spec import FrontendSpec
from edge_audio.bundle.store import Bundle
from edge_audio.engine.image import StateType, Weights, build_image
from edge_audio.errors import UsageError
from edge_audio.features.frontend import log_mel
from edge_audio.support.arrays import FloatArray
from quantize.build import limited_error
from quantize.export import export
from quantize.export.native import input_bits
from quantize.export.runtimes import runtimes_for
from quantize.graph.int8 import quantize_weight
from quantize.graph.parity import Outputs, backend_outputs, eager_outputs, errors_by_step
from quantize.schemes import SCHEMES
from tests.quantize.native_export import (
    HELD,
    MIXED,
    Save,
    content_of,
    exported,
    fresh_graph,
    graph_of,
    save_family,
)
from tests.support.student_zoo import ENGINE_FAMILIES, random_frames

Labels = Sequence[str]

N_STEPS = 100


def heard_frames(n_steps: int) -> FloatArray:
    """Random frames [8 n_steps, 64] within what audio gives, for which the engine has room."""
    return random_frames(8 * n_steps)[0].numpy().clip(-3.9, 3.9)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """(family, files) -> a bundle whose labels are L0, L1, ..."""
    return lambda family, files=None: save_family(tmp_path / "zoo", family, files)


def require_compiler() -> None:
    if not is_available():
        pytest.skip("needs a C compiler: apt-get install gcc")


def native_outputs(
    bundle: Bundle, rows: FloatArray, state: StateType = "float", labels: Labels = ()
) -> Outputs:
    """Scores [n_steps, n_labels] and embedding [n_steps, embedding_dim] of the engine."""
    require_compiler()
    spec = bundle.manifest.model
    n_labels = len(labels) or spec.scores.shape[1]
    scores = msgspec.structs.replace(spec.scores, shape=(1, n_labels))
    spec = msgspec.structs.replace(spec, scores=scores)
    backend = NativeBackend(spec, build_image(bundle, labels, state), load_engine())
    return backend_outputs(backend, rows)


def native_scores(bundle: Bundle, rows: FloatArray, labels: Labels = ()) -> FloatArray:
    return native_outputs(bundle, rows, labels=labels).scores


@pytest.mark.parametrize("state", ["float", "int16"])
@pytest.mark.parametrize("family", [*ENGINE_FAMILIES, MIXED])
def test_the_engine_gives_the_scores_and_embedding_of_pytorch(
    save: Save, family: str, state: StateType
) -> None:
    graph = graph_of(family)
    rows = heard_frames(N_STEPS)
    expected = eager_outputs(graph, rows)
    found = native_outputs(save(family), rows, state)
    tolerance = tolerance_of("native", SCHEMES["weight-only"].tolerance)
    for part, reach in (("scores", 1.0), ("embedding", EMBEDDING_BOUND)):
        values = getattr(expected, part)
        assert values.std(0).mean() > 0.05, "it hardly moves: equality would mean nothing"
        by_step = getattr(errors_by_step(found, expected), part)
        assert limited_error(graph.student, by_step) <= getattr(tolerance, part)
        assert np.abs(getattr(found, part) - values).mean() < 2e-4 * reach
    assert tolerance.scores == ENGINE_TOLERANCE


def test_frames_beyond_what_audio_gives_are_clipped(save: Save) -> None:
    rows = np.float32(1e6) * random_frames(8 * 10)[0].numpy()
    found = native_scores(save(MIXED), rows)
    assert np.isfinite(found).all()


def test_every_possible_frame_fits_the_input_map() -> None:
    front = FrontendSpec()
    assert input_bits(front) >= 12
    tone = np.sin(2.0 * np.pi * 1000.0 / 16_000 * np.arange(16_000))
    square = np.sign(tone)
    for samples in (tone, square, np.zeros(16_000)):
        frames = log_mel(front, samples.astype(np.float32))
        assert np.abs(frames).max() * 2.0 ** input_bits(front) < 32_767


FRONT_ENDS = {
    "usual": FrontendSpec(),
    "odd window": FrontendSpec(window_samples=401, fft_size=1024),
    "whole window": FrontendSpec(window_samples=512),
    "8 kHz": FrontendSpec(
        sample_rate_hz=8_000, window_samples=200, hop_samples=80, fft_size=256, max_hz=4_000.0
    ),
    "few bands": FrontendSpec(min_hz=300.0, max_hz=3_400.0),
    "from zero": FrontendSpec(min_hz=0.0, hop_samples=1, window_samples=100),
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_its_front_end_is_that_of_python(save: Save, name: str) -> None:
    """Noise, a tone, and silence, where the floor is all that is left."""
    require_compiler()
    front = FRONT_ENDS[name]
    bundle = save(MIXED)
    model = msgspec.structs.replace(bundle.manifest.model, frontend=front)
    other = msgspec.structs.replace(bundle.manifest, model=model)
    backend = NativeBackend(model, build_image(Bundle(bundle.path, other)), load_engine())
    samples = np.random.default_rng(0).normal(0.0, 0.1, 4000).astype(np.float32)
    samples[1000:2000] = 0.9 * np.sin(0.37 * np.arange(1000))
    samples[2000:3000] = 0.0
    expected = log_mel(front, samples)
    np.testing.assert_allclose(backend.log_mel(samples), expected, rtol=0, atol=1e-3)


def linears(student: nn.Module) -> dict[str, nn.Linear]:
    return {name: m for name, m in student.named_modules() if isinstance(m, nn.Linear)}


@pytest.mark.parametrize("scheme", HELD)
def test_its_integers_are_those_of_the_rounded_student(scheme: str) -> None:
    """All int8 matrices, rows padded with zeros to a multiple of 8."""
    graph = graph_of(MIXED, scheme)
    pieces = set(Weights.from_bytes(exported(graph, scheme)).pieces)
    layers = linears(graph.student)
    assert len(layers) >= 12
    for name, layer in layers.items():
        integers, scale = quantize_weight(layer.weight.detach().numpy())
        np.testing.assert_allclose(integers * scale[:, None], layer.weight.detach(), rtol=2e-7)
        rows = np.pad(integers, ((0, 0), (0, -integers.shape[1] % 8)))
        content = rows.astype(np.int8).tobytes()
        assert content + bytes(-len(content) % 4) in pieces, name


def test_its_sizes_are_those_of_the_student() -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    sizes = (weights.channels, weights.n_convs, weights.n_blocks, weights.embedding_dim)
    assert sizes == (16, 4, 6, 12)
    assert weights.bound == 6.0


def test_the_same_student_gives_the_same_bytes_and_stays_as_it_was() -> None:
    graph = fresh_graph()
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    first = exported(graph)
    assert first == exported(graph_of(MIXED)) == export("native", graph, SCHEMES["weight-only"])
    assert first == exported(graph_of(MIXED, "dynamic"), "dynamic")
    after = graph.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_engine_gives_the_embedding_of_a_bundle_whose_graphs_give_none(save: Save) -> None:
    bundle = save(MIXED)
    rows = heard_frames(20)
    model = msgspec.structs.replace(bundle.manifest.model, embedding=None)
    older = Bundle(bundle.path, msgspec.structs.replace(bundle.manifest, model=model))
    found, expected = (native_outputs(one, rows) for one in (older, bundle))
    np.testing.assert_array_equal(found.embedding, expected.embedding)


@pytest.mark.parametrize("kept", [("L3",), ("L19", "L0", "L7"), ("L1", "L2", "L3", "L4", "L5")])
def test_kept_labels_have_exactly_the_same_scores(save: Save, kept: Labels) -> None:
    bundle = save(MIXED)
    rows = heard_frames(20)
    whole = native_scores(bundle, rows)
    found = native_scores(bundle, rows, labels=kept)
    np.testing.assert_array_equal(found, whole[:, [int(label[1:]) for label in kept]])


def test_unknown_and_repeated_labels_are_refused(save: Save) -> None:
    bundle = save(MIXED)
    with pytest.raises(UsageError, match="unknown label 'Dog': see edge-audio inspect"):
        build_image(bundle, ["L1", "Dog"])
    with pytest.raises(UsageError, match="a label is named twice"):
        build_image(bundle, ["L1", "L1"])


def test_a_graph_that_is_fed_samples_is_not_exported_for_the_engine_unasked() -> None:
    weight_only = SCHEMES["weight-only"]
    assert "native" in runtimes_for(weight_only)
    assert runtimes_for(weight_only, "samples") == ("litert", "executorch", "onnx")
