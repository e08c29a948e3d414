"""engine.bin: the engine computes a student's scores from it, and its integers are the student's
own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from distill.students.sequence_mixer import SequenceMixer
from edge_audio.backends.native import NativeBackend, is_available, load_engine
from edge_audio.bundle.manifest import Manifest
from edge_audio.bundle.spec import EventSpec, FrontendSpec
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle
from edge_audio.engine.image import ENGINE_FILE, SHARED_FILE, StateType, Weights, build_image
from edge_audio.errors import BundleError, EdgeAudioError, UsageError
from edge_audio.features.frontend import log_mel
from edge_audio.support.arrays import FloatArray
from quantize.build import ENGINE_TOLERANCE, engine_error, share_weights
from quantize.export import export
from quantize.export.native import export_native, input_bits
from quantize.export.runtimes import runtimes_for
from quantize.graph.int8 import quantize_weight
from quantize.graph.parity import backend_scores, eager_scores
from quantize.graph.prepare import prepare
from quantize.graph.step import SampleStepGraph, StepGraph
from quantize.schemes import SCHEMES
from tests.support.student_zoo import CONFIGS, make_mixed_student, make_student, random_frames

Labels = Sequence[str]

N_STEPS = 100
HELD = ("weight-only", "dynamic")
MIXED = "mixed"
Save = Callable[..., Bundle]


@lru_cache(maxsize=8)
def graph_of(family: str, scheme: str = "weight-only") -> StepGraph:
    student = make_mixed_student() if family == MIXED else make_student(CONFIGS[family])
    return prepare(student, SCHEMES[scheme])


def exported(graph: StepGraph, scheme: str = "weight-only") -> bytes:
    return export_native(graph, SCHEMES[scheme])


@lru_cache(maxsize=8)
def content_of(family: str) -> bytes:
    return exported(graph_of(family))


def heard_frames(n_steps: int) -> FloatArray:
    """Random frames [8 n_steps, 64] within what audio gives, for which the engine has room."""
    return random_frames(8 * n_steps)[0].numpy().clip(-3.9, 3.9)


def fresh_graph() -> StepGraph:
    """The mixed one, to be changed."""
    return prepare(make_mixed_student(), SCHEMES["weight-only"])


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """(family, files) -> a bundle whose labels are L0, L1, ..."""

    def run(family: str, files: dict[str, bytes] | None = None) -> Bundle:
        spec = graph_of(family).spec
        manifest = Manifest(
            name="zoo",
            description="A student of the zoo",
            labels=tuple(f"L{index}" for index in range(spec.scores.shape[1])),
            model=spec,
            events=EventSpec(),
            tolerance=SCHEMES["weight-only"].tolerance,
        )
        return save_bundle(tmp_path / "zoo", manifest, files or {ENGINE_FILE: content_of(family)})

    return run


def require_compiler() -> None:
    if not is_available():
        pytest.skip("needs a C compiler: apt-get install gcc")


def native_scores(
    bundle: Bundle, rows: FloatArray, state: StateType = "float", labels: Labels = ()
) -> FloatArray:
    """Scores [n_steps, n_labels] of the engine."""
    require_compiler()
    spec = bundle.manifest.model
    n_labels = len(labels) or spec.scores.shape[1]
    scores = msgspec.structs.replace(spec.scores, shape=(1, n_labels))
    spec = msgspec.structs.replace(spec, scores=scores)
    backend = NativeBackend(spec, build_image(bundle, labels, state), load_engine())
    return backend_scores(backend, rows)


@pytest.mark.parametrize("state", ["float", "int16"])
@pytest.mark.parametrize("family", [*CONFIGS, MIXED])
def test_the_engine_gives_the_scores_of_pytorch(save: Save, family: str, state: StateType) -> None:
    graph = graph_of(family)
    rows = heard_frames(N_STEPS)
    expected = eager_scores(graph, rows)
    assert expected.std(0).mean() > 0.05, "scores hardly move: equality would mean nothing"
    found = native_scores(save(family), rows, state)
    by_step = np.abs(found - expected).max(1)
    assert engine_error(graph.student, by_step) <= ENGINE_TOLERANCE
    assert np.abs(found - expected).mean() < 2e-4


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


# Sharing the bytes of model.tflite


def a_model_of(weights: Weights) -> bytes:
    """Bytes that hold the larger pieces among others, in another order."""
    pieces = [piece for piece in weights.pieces if isinstance(piece, bytes)]
    return b"TFL3" + b"between".join(sorted(piece for piece in pieces if len(piece) > 100))


def test_sharing_and_back_is_the_identity() -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    model = a_model_of(weights)
    shared = weights.with_references(model)
    assert shared.has_references
    assert not weights.has_references
    assert len(shared.to_bytes()) < 0.5 * len(weights.to_bytes())
    assert shared.arrays(model) == weights.arrays(b"")
    assert Weights.from_bytes(shared.to_bytes()) == shared
    assert shared.with_references(model) == shared
    assert weights.with_references(b"") == weights


def test_a_shipped_bundle_keeps_its_matrices_once() -> None:
    bundle = load_bundle("micro-int8")
    model = bundle.read(SHARED_FILE)
    weights = Weights.from_bytes(bundle.read(ENGINE_FILE))
    shared = sum(piece[1] for piece in weights.pieces if isinstance(piece, tuple))
    assert shared > 0.5 * len(weights.arrays(model))
    files = {ENGINE_FILE: unshared(weights, model).to_bytes(), SHARED_FILE: model}
    share_weights(files)
    assert files[ENGINE_FILE] == bundle.read(ENGINE_FILE)


def unshared(weights: Weights, model: bytes) -> Weights:
    """The same with bytes in place of references."""
    pieces = (
        piece if isinstance(piece, bytes) else model[piece[0] : piece[0] + piece[1]]
        for piece in weights.pieces
    )
    return msgspec.structs.replace(weights, pieces=tuple(pieces))


def test_references_beyond_the_model_file_are_refused(save: Save) -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    model = a_model_of(weights)
    shared = weights.with_references(model).to_bytes()
    bundle = save(MIXED, {ENGINE_FILE: shared, SHARED_FILE: model[:-200]})
    with pytest.raises(BundleError, match=r"engine.bin refers beyond model.tflite: restore"):
        build_image(bundle)
    for start, n_bytes in ((-1, 4), (0, -4), (4, -2), (len(model), 1), (2**62, 2**62)):
        wrong = msgspec.structs.replace(weights, pieces=((start, n_bytes),))
        with pytest.raises(BundleError, match="refers beyond"):
            wrong.arrays(model)


def test_references_without_the_model_file_are_refused(save: Save) -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    shared = weights.with_references(a_model_of(weights)).to_bytes()
    with pytest.raises(BundleError, match=r"has no model.tflite: export it again"):
        build_image(save(MIXED, {ENGINE_FILE: shared}))


# Labels


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


# Refusals of the exporter


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - set(HELD)))
def test_a_scheme_without_code_in_the_engine_is_refused_with_the_cure(scheme: str) -> None:
    with pytest.raises(EdgeAudioError, match=r"weight-only, or export this one for LiteRT, ONNX"):
        exported(graph_of(MIXED), scheme)


def test_a_graph_that_is_fed_samples_is_refused_with_the_cure() -> None:
    with pytest.raises(EdgeAudioError, match="front end of its own: export the graph"):
        exported(SampleStepGraph(graph_of(MIXED)))


def test_weights_that_nobody_rounded_are_refused() -> None:
    with pytest.raises(EdgeAudioError, match="project is not rounded to int8: prepare it with"):
        exported(graph_of(MIXED, "float"))


def changed_config(**changes: Any) -> StepGraph:
    config = msgspec.structs.replace(CONFIGS["ssm-lti"], **changes)
    return prepare(make_student(config), SCHEMES["weight-only"])


def test_sizes_that_the_engine_has_no_code_for_are_refused() -> None:
    with pytest.raises(EdgeAudioError, match="needs a multiple of 8 channels: train such"):
        exported(changed_config(channels=12))
    stem = ((4, 2), (6, 2), (8, 1), (8, 2))
    with pytest.raises(EdgeAudioError, match=r"multiple of 4 channels, not so convolution 1"):
        exported(changed_config(stem=stem))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    "name",
    ["head.weight", "norm.running_mean", "blocks.0.mixer.skip", "stem.convs.1.layers.0.weight"],
)
def test_a_student_that_is_not_finite_is_refused(name: str, value: float) -> None:
    graph = fresh_graph()
    graph.student.state_dict()[name].view(-1)[3] = value
    with pytest.raises(EdgeAudioError, match="a weight of this student is not finite: train it"):
        exported(graph)


def test_an_unknown_mixer_is_refused_by_name() -> None:
    class Silence(SequenceMixer[tuple[()]]):
        def forward(self, u: torch.Tensor) -> torch.Tensor:
            return 0.0 * u

        def step(self, u: torch.Tensor, state: tuple[()]) -> tuple[torch.Tensor, tuple[()]]:
            return 0.0 * u, ()

        def initial_state(self, batch_size: int) -> tuple[()]:
            return ()

    graph = fresh_graph()
    graph.student.blocks[0].mixer = Silence()
    with pytest.raises(
        EdgeAudioError, match=r"no code for the mixer Silence: give it a file .*mixers"
    ):
        exported(graph)


# Damage


_WRONG_FIELDS = (
    ("channels", "16"),
    ("channels", -8),
    ("n_blocks", 1 << 33),
    ("pieces", [1]),
    ("bound", None),
    ("more", 1),
)


def test_a_damaged_file_is_refused() -> None:
    content = content_of(MIXED)
    damaged = (b"", b"\xc1", content[:-1], content[: len(content) // 2], content + b"\0", b"[1, 2]")
    for other in damaged:
        with pytest.raises(BundleError, match=r"engine.bin is damaged: .*; restore the original"):
            Weights.from_bytes(other)
    fields = msgspec.msgpack.decode(content)
    for name, value in _WRONG_FIELDS:
        with pytest.raises(BundleError, match="is damaged"):
            Weights.from_bytes(msgspec.msgpack.encode({**fields, name: value}))


def test_another_version_is_refused() -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    newer = msgspec.structs.replace(weights, version=2)
    with pytest.raises(BundleError, match=r"is of version 2, this is 1: export the bundle again"):
        Weights.from_bytes(newer.to_bytes())


def test_too_few_weights_for_the_manifest_are_refused(save: Save) -> None:
    weights = Weights.from_bytes(content_of(MIXED))
    less = msgspec.structs.replace(weights, pieces=weights.pieces[-1:])
    with pytest.raises(BundleError, match="does not fit its manifest: restore"):
        build_image(save(MIXED, {ENGINE_FILE: less.to_bytes()}))


def test_random_damage_is_an_error_or_another_image(save: Save) -> None:
    """Where the bytes still decode, nothing but BundleError comes of them."""
    content = content_of("ssm-lti")
    generator = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        at = generator.integers(0, min(len(content), 160 if generator.random() < 0.7 else 10**9))
        damaged[at] = generator.integers(0, 256)
        try:
            build_image(save("ssm-lti", {ENGINE_FILE: bytes(damaged)}))
        except BundleError:
            n_refused += 1
    assert 30 < n_refused < 300


def test_a_bundle_without_it_says_so(save: Save) -> None:
    bundle = save(MIXED, {"CARD.md": b"# Zoo"})
    with pytest.raises(BundleError, match=r"has no engine.bin: export it again with that part"):
        build_image(bundle)


def test_a_graph_that_is_fed_samples_is_not_exported_for_the_engine_unasked() -> None:
    weight_only = SCHEMES["weight-only"]
    assert "native" in runtimes_for(weight_only)
    assert runtimes_for(weight_only, "samples") == ("litert", "executorch", "onnx")
