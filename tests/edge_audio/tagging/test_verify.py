"""The golden replay accepts what is right and reports what is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_audio.backends import BACKEND_NAMES, RUNTIMES
from edge_audio.backends.golden import replay, rms_errors
from edge_audio.bundle.golden import GOLDEN_NAME, Golden, load_golden
from edge_audio.bundle.manifest import Tolerance
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle, load_bundle, save_bundle, shipped_bundles
from edge_audio.errors import BundleError
from edge_audio.tagging.verify import verify_bundle
from tests.support import toy
from tests.support.runtimes import require_runtimes

SHIPPED = [
    (name, backend)
    for name in shipped_bundles()
    for backend in BACKEND_NAMES
    if RUNTIMES[backend].file in load_bundle(name).manifest.files
]


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_shipped_bundles_replay_their_golden(model: str, name: str) -> None:
    require_runtimes(name)
    report = verify_bundle(load_bundle(model), name)
    assert report.failure is None
    assert report.n_steps > 0


@pytest.mark.parametrize("name", [name for name in BACKEND_NAMES if name != "native"])
def test_toy_replays_its_golden_with_events(tmp_path: Path, name: str) -> None:
    require_runtimes(name)
    report = verify_bundle(toy.save_toy(tmp_path / "toy", **toy.exported()), name)
    assert report.ok
    assert report.backend == name
    assert report.n_steps == len(toy.golden().scores)
    assert report.scores_error < 1e-5


def test_the_engine_is_held_to_its_own_tolerance(tmp_path: Path) -> None:
    """A golden that is between that of the bundle, 1e-3, and that of the engine, 2e-3, away."""
    require_runtimes("native", "onnx")
    bundle = load_bundle("micro-int8")
    golden = load_golden(bundle)
    moved = dataclasses.replace(golden, scores=golden.scores + np.float32(1.4e-3))
    plain = msgspec.structs.replace(bundle.manifest, events=EventSpec())
    files = {**bundle.contents(), GOLDEN_NAME: moved.to_bytes()}
    altered = save_bundle(tmp_path / "micro", plain, files)
    assert verify_bundle(altered, "native").failure is None
    assert "allowed is 0.001" in str(verify_bundle(altered, "onnx").failure)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"scores": 1.001}, "scores differ"),
        ({"scores": 0.0}, "scores differ"),
        ({"scores": np.nan}, "scores differ"),
        ({"frames": 1.01}, "frames differ"),
        ({"frames": np.nan}, "frames differ"),
    ],
)
def test_altered_numbers_are_a_failure(
    tmp_path: Path, change: dict[str, float], failure: str
) -> None:
    parts = {name: getattr(toy.golden(), name) for name in ("samples", "frames", "scores")}
    for name, factor in change.items():
        parts[name] = (parts[name] * factor).astype(np.float32)
    files = {"golden.npz": Golden(**parts).to_bytes()}
    report = replay(save_bundle(tmp_path / "b", toy.MANIFEST, files), toy.NumpyBackend())
    assert not report.ok
    assert failure in str(report.failure)


def with_embedding(folder: Path, factor: float | None) -> Bundle:
    """A bundle whose golden has an embedding, times this factor; None: has none."""
    right, backend = toy.golden(), toy.EmbeddingBackend()
    state, rows = backend.initial_state(), []
    for start in range(0, len(right.frames) - 7, 8):
        _, embedding, state = backend.embed(right.frames[None, start : start + 8], state)
        rows.append(embedding * np.float32(factor or 0.0))
    if factor is not None:
        right = dataclasses.replace(right, embedding=np.stack(rows))
    manifest = msgspec.structs.replace(toy.MANIFEST, model=toy.EmbeddingBackend.spec)
    return save_bundle(folder, manifest, {"golden.npz": right.to_bytes()})


def test_an_embedding_is_compared_within_the_same_part_of_its_reach(tmp_path: Path) -> None:
    report = replay(with_embedding(tmp_path / "right", 1.0), toy.EmbeddingBackend())
    assert report.failure is None
    assert report.embedding_error == 0.0
    report = replay(with_embedding(tmp_path / "wrong", 1.01), toy.EmbeddingBackend())
    assert str(report.failure).startswith("embedding differs by ")
    assert Tolerance(frames=1.0, scores=0.5).embedding == 3.0


def test_what_counts_of_an_embedding_is_the_root_mean_square_of_each_step() -> None:
    expected = np.zeros((2, 4), np.float32)
    found = np.array([[0.0, 0.0, 2.0, 0.0], [3.0, 3.0, -3.0, 3.0]], np.float32)
    assert rms_errors(found, expected).tolist() == [1.0, 3.0]


def test_a_golden_without_the_embedding_of_its_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="an embedding of 12: export the bundle again"):
        replay(with_embedding(tmp_path / "b", None), toy.EmbeddingBackend())


def test_scores_within_tolerance_but_other_events_are_a_failure(tmp_path: Path) -> None:
    right = toy.golden()
    wrong = Golden(right.samples, right.frames, np.zeros_like(right.scores))
    manifest = msgspec.structs.replace(toy.MANIFEST, tolerance=Tolerance(frames=1e-4, scores=2.0))
    files = {"golden.npz": wrong.to_bytes()}
    report = replay(save_bundle(tmp_path / "b", manifest, files), toy.NumpyBackend())
    assert not report.events_equal
    assert report.failure == "events differ"


def test_missing_step_is_a_failure(tmp_path: Path) -> None:
    right = toy.golden()
    wrong = Golden(right.samples, right.frames, right.scores[:-1])
    files = {"golden.npz": wrong.to_bytes()}
    report = replay(save_bundle(tmp_path / "b", toy.MANIFEST, files), toy.NumpyBackend())
    assert report.scores_error == np.inf
    assert not report.ok


def test_a_golden_without_a_step_is_a_failure(tmp_path: Path) -> None:
    right = toy.golden()
    empty = Golden(right.samples[:100], right.frames[:0], right.scores[:0])
    files = {"golden.npz": empty.to_bytes()}
    report = replay(save_bundle(tmp_path / "b", toy.MANIFEST, files), toy.NumpyBackend())
    assert report.n_steps == 0
    assert "nothing was compared" in str(report.failure)


def test_every_part_is_checked_even_if_the_replay_does_not_need_it(tmp_path: Path) -> None:
    bundle = toy.save_toy(tmp_path / "toy")
    (bundle.path / "CARD.md").write_text("# Another model")
    with pytest.raises(BundleError, match=r"CARD\.md was altered"):
        verify_bundle(bundle, "auto")
