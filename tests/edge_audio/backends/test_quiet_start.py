"""A stream begins with the state that the manifest's steps of silence leave, on every runtime."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_audio.backends import BACKEND_NAMES, RUNTIMES, Backend, State
from edge_audio.backends.base import silence, zero_state
from edge_audio.bundle.manifest import MANIFEST_NAME, Manifest
from edge_audio.bundle.spec import MAX_QUIET_STEPS
from edge_audio.bundle.store import Bundle, load_bundle, shipped_bundles
from edge_audio.cli.models import step_lines
from edge_audio.errors import BundleError
from edge_audio.features.frontend import log_mel
from edge_audio.tagging.tagger import Tagger
from tests.support import toy
from tests.support.contract import check_backend
from tests.support.runtimes import open_or_skip

EXPORTED = [name for name in BACKEND_NAMES if name != "native"]
N_QUIET_STEPS = 25


def quiet_manifest(n_steps: int) -> Manifest:
    model = msgspec.structs.replace(toy.SPEC, quiet_steps=n_steps)
    return msgspec.structs.replace(toy.MANIFEST, model=model)


@pytest.fixture(scope="module")
def quiet_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "toy"
    return toy.save_toy(path, quiet_manifest(N_QUIET_STEPS), **toy.exported())


def after_silence(backend: Backend, n_steps: int) -> State:
    """What a stream of samples that are all 0 leaves of zeros."""
    spec = backend.spec
    n_samples = spec.overlap_samples + n_steps * spec.step_samples
    frames = log_mel(spec.frontend, np.zeros(n_samples, np.float32))
    state = zero_state(spec)
    for block in frames.reshape(n_steps, 1, spec.frames_per_step, -1):
        _, state = backend.step(block, state)
    return state


@pytest.mark.parametrize("name", EXPORTED)
def test_a_stream_begins_behind_silence(quiet_bundle: Bundle, name: str) -> None:
    backend = open_or_skip(quiet_bundle, name)
    check_backend(backend)
    expected = after_silence(toy.NumpyBackend(), N_QUIET_STEPS)
    assert all(array.any() for array in expected)
    for found, array in zip(backend.initial_state(), expected, strict=True):
        np.testing.assert_allclose(found, array, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", EXPORTED)
def test_bundles_that_are_older_begin_with_zeros(tmp_path: Path, name: str) -> None:
    path = toy.save_toy(tmp_path / "toy", **toy.exported()).path
    manifest = json.loads((path / MANIFEST_NAME).read_text())
    manifest["schema_version"] = 1
    del manifest["model"]["quiet_steps"]
    (path / MANIFEST_NAME).write_text(json.dumps(manifest))
    old = load_bundle(path)
    assert old.manifest.schema_version == 1
    assert not any(array.any() for array in open_or_skip(old, name).initial_state())


@pytest.mark.parametrize("n_steps", [-1, MAX_QUIET_STEPS + 1])
def test_a_number_of_steps_out_of_range_is_refused(tmp_path: Path, n_steps: int) -> None:
    path = toy.save_toy(tmp_path / "toy").path
    manifest = json.loads((path / MANIFEST_NAME).read_text())
    manifest["model"]["quiet_steps"] = n_steps
    (path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="quiet_steps"):
        load_bundle(path)


def test_a_tagger_begins_so_and_goes_back_to_it(quiet_bundle: Bundle) -> None:
    backend = open_or_skip(quiet_bundle, "litert")
    first, later = toy.noise(6_000, seed=1), toy.noise(20_000, seed=2)
    frames = log_mel(toy.FRONTEND, first[:1_520].astype(np.float32) / np.float32(32768))
    expected, _ = backend.step(frames[None], after_silence(backend, N_QUIET_STEPS))

    def first_scores(tagger: Tagger) -> np.ndarray:
        return next(iter(tagger.steps(first))).scores

    tagger = Tagger(quiet_bundle, backend)
    np.testing.assert_array_equal(first_scores(tagger), expected)
    for start_anew in (tagger.reset, tagger.flush):
        tagger.push(later)
        start_anew()
        np.testing.assert_array_equal(first_scores(tagger), expected)


@pytest.mark.parametrize("model", [name for name in shipped_bundles() if name != "tiny"])
def test_runtimes_agree_from_the_first_step(model: str) -> None:
    bundle = load_bundle(model)
    assert bundle.manifest.model.quiet_steps == N_QUIET_STEPS
    names = [name for name in BACKEND_NAMES if RUNTIMES[name].file in bundle.manifest.files]
    noise = np.random.default_rng(0).standard_normal(1_520).astype(np.float32)
    frames = log_mel(bundle.manifest.model.frontend, np.float32(0.01) * noise)[None]
    scores = []
    for name in names:
        backend = open_or_skip(bundle, name)
        scores.append(backend.step(frames, backend.initial_state())[0])
        from_zeros, _ = backend.step(frames, zero_state(backend.spec))
        assert np.abs(np.log(scores[-1] / from_zeros)).max() > 0.2  # a network may be shy in both
    for others in scores[1:]:
        np.testing.assert_allclose(others, scores[0], atol=bundle.manifest.tolerance.scores)


def test_inspect_says_so(quiet_bundle: Bundle) -> None:
    assert "a stream begins behind 25 steps of silence" in step_lines(quiet_bundle.manifest.model)


def test_silence_is_what_the_front_end_makes_of_zeros() -> None:
    frames = silence(toy.SPEC)
    assert frames.shape == toy.SPEC.frames.shape
    np.testing.assert_array_equal(frames, frames[:, :1, :1] * np.ones_like(frames))
    assert frames[0, 0, 0] == pytest.approx((np.log(1e-6) + 5.0) / 5.0, abs=1e-6)
