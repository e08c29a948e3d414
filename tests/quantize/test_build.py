"""Exported models compute what PyTorch computes, over long streams, on every runtime."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from distill.students.blocks import BOUND
from distill.students.student import Student, StudentConfig
from distill.training.recipe import Recipe, read_recipe
from edge_audio.backends import BACKEND_NAMES, RUNTIMES, open_backend
from edge_audio.backends.golden import VerifyResults, tolerance_of
from edge_audio.bundle.manifest import EMBEDDING_BOUND
from edge_audio.bundle.store import Bundle, load_bundle
from edge_audio.errors import EdgeAudioError
from edge_audio.features.frontend import log_mel
from edge_audio.tagging.verify import verify_bundle
from quantize import build
from quantize.build import (
    GOLDEN_S,
    BuildConfig,
    build_bundle,
    check_parity,
    demo_samples,
    limited_error,
)
from quantize.graph.parity import eager_scores, max_error
from quantize.graph.prepare import prepare
from quantize.graph.step import StepGraph
from quantize.schemes import SCHEMES
from tests.support.made_once import made_once
from tests.support.paths import REPOSITORY
from tests.support.student_zoo import CONFIGS, make_student

RECIPES = REPOSITORY / "distill" / "recipes"
CONFIG = StudentConfig(
    stem=((8, 2), (8, 1), (16, 2), (16, 2)), channels=32, n_blocks=2, embedding_dim=48
)
MADE = ("float", "weight-only", "dynamic")
N_STEPS = 1000


def _lively_student() -> Student:
    """Random weights, and batch norms and head as far from their initial values as training
    takes them, so that scores cover the whole range."""
    torch.manual_seed(1)
    student = Student(CONFIG)
    for module in student.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.get_buffer("running_mean").normal_(0.0, 0.3)
            module.get_buffer("running_var").uniform_(0.3, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0.0, 0.3)
    student.head.weight.data.normal_(0.0, 0.3)
    student.head.bias.data.normal_(-1.0, 1.0)
    return student.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = read_recipe(RECIPES / "esc_free.toml")
    labels = load_bundle("tiny-int8").manifest.labels  # those of AudioSet
    recipe = msgspec.structs.replace(recipe, name="random", student=CONFIG, labels=labels)
    state = {
        "recipe": msgspec.json.encode(recipe).decode(),
        "student": _lively_student().state_dict(),
    }
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module", params=MADE)
def bundle(
    request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    config = BuildConfig(f"random-{request.param}", request.param)
    folder = made_once(
        tmp_path_factory,
        f"bundle-{request.param}",
        lambda folder: build_bundle(checkpoint, config, folder),
    )
    return load_bundle(folder / config.name)


def _graph(scheme: str) -> StepGraph:
    return prepare(_lively_student(), SCHEMES[scheme])


def needed(bundle: Bundle, backend_name: str) -> str:
    """The name, if the bundle's scheme can be expressed there."""
    if RUNTIMES[backend_name].file not in bundle.manifest.files:
        pytest.skip(f"{backend_name} has no {bundle.manifest.provenance['scheme']}")
    return backend_name


@pytest.mark.parametrize("backend_name", BACKEND_NAMES)
def test_exported_step_matches_pytorch_over_a_long_stream(
    bundle: Bundle, backend_name: str
) -> None:
    scheme = bundle.manifest.provenance["scheme"]
    frontend = bundle.manifest.model.frontend
    frames = log_mel(frontend, demo_samples(frontend, 0.0, 82.0))
    assert len(frames) >= N_STEPS * bundle.manifest.model.frames_per_step
    backend = open_backend(bundle, needed(bundle, backend_name))
    error = max_error(eager_scores(_graph(scheme), frames), backend, frames)
    assert error <= tolerance_of(backend_name, SCHEMES[scheme].tolerance).scores


@pytest.mark.parametrize("backend_name", BACKEND_NAMES)
def test_golden_replays_on_every_runtime(bundle: Bundle, backend_name: str) -> None:
    report = verify_bundle(bundle, needed(bundle, backend_name))
    assert report.ok, report.failure
    assert report.n_steps > 0
    assert report.embedding_error is not None


def test_nothing_in_an_embedding_exceeds_the_bound_of_activations() -> None:
    assert EMBEDDING_BOUND == BOUND


def test_bundle_holds_int8_weights_only_if_it_says_so(bundle: Bundle) -> None:
    n_parameters = bundle.manifest.provenance["n_parameters"]
    n_bytes = bundle.manifest.files["model.tflite"].n_bytes
    is_int8 = bundle.manifest.provenance["scheme"] != "float"
    assert (n_bytes < 3 * n_parameters) == is_int8


def test_bundle_names_no_path_of_the_exporting_machine(bundle: Bundle) -> None:
    needle = str(REPOSITORY).encode()
    for name in bundle.manifest.files:
        content = bundle.read(name)
        assert needle not in content
        assert b"site-packages" not in content


def test_a_model_that_strays_from_pytorch_is_refused(bundle: Bundle) -> None:
    graph = _graph(bundle.manifest.provenance["scheme"])
    graph.student.head.bias.data += 2.0
    with pytest.raises(EdgeAudioError, match="strays from PyTorch"):
        check_parity(graph, bundle)


def test_a_bundle_that_fails_its_golden_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bundle: Bundle, name: str) -> VerifyResults:
        report = verify_bundle(bundle, name)
        return dataclasses.replace(report, failure=f"not on {name}")

    monkeypatch.setattr(build, "verify_bundle", fail)
    config = BuildConfig("wrong", runtimes=("onnx",))
    with pytest.raises(EdgeAudioError, match="wrong fails on onnx: not on onnx"):
        build_bundle(checkpoint, config, tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize("bundle", ["dynamic"], indirect=True)
def test_export_gives_the_same_bytes_again(
    checkpoint: Path, bundle: Bundle, tmp_path: Path
) -> None:
    manifest = bundle.manifest
    config = BuildConfig(manifest.name, manifest.provenance["scheme"])
    again = build_bundle(checkpoint, config, tmp_path)
    assert again.manifest.files == manifest.files


def test_card_states_size_data_and_limits(bundle: Bundle) -> None:
    card = bundle.read("CARD.md").decode()
    facts = bundle.manifest.provenance
    for text in (f"{facts['n_parameters']:,}", "licence", "EfficientAT", "seed 0", "## Limits"):
        assert text in card


def test_bundle_reloads_equal(bundle: Bundle) -> None:
    assert load_bundle(bundle.path).manifest == bundle.manifest


def test_golden_is_the_shipped_scene(bundle: Bundle) -> None:
    frontend = bundle.manifest.model.frontend
    with np.load(bundle.file("golden.npz")) as golden:
        expected = demo_samples(frontend, *GOLDEN_S)
        np.testing.assert_array_equal(golden["samples"] / np.float32(32768.0), expected)


def test_recipe_in_the_manifest_is_the_checkpoints(bundle: Bundle) -> None:
    recipe = msgspec.convert(bundle.manifest.provenance["recipe"], Recipe)
    assert recipe.student == CONFIG


@pytest.mark.parametrize(("family", "allowed"), [("ssm-lti", False), ("mlstm", True)])
def test_single_steps_may_stray_where_gates_are_exponential(family: str, allowed: bool) -> None:
    by_step = np.full(1_000, 1e-6, np.float32)
    by_step[500] = 0.1
    assert (limited_error(make_student(CONFIGS[family]), by_step) < 1e-3) == allowed
    assert limited_error(make_student(CONFIGS[family]), 0.01 + by_step) >= 0.01
