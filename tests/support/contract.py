"""What every backend must hold: run on each of them, with each model."""

from __future__ import annotations

import numpy as np
import pytest

from edge_audio.backends import Backend, State
from edge_audio.backends.base import silence, zero_state
from edge_audio.bundle.manifest import EMBEDDING_BOUND
from edge_audio.errors import BundleError


def check_backend(backend: Backend, n_steps: int = 20, seed: int = 0) -> None:
    """Raises AssertionError where a backend breaks the protocol."""
    streams = [_random_frames(backend, n_steps, seed + i) for i in range(2)]
    _check_initial_state(backend)
    _check_inputs_kept(backend, streams[0])
    _check_outputs_owned(backend, streams[0])
    _check_fresh_start_repeats(backend, streams[0])
    _check_streams_do_not_mix(backend, *streams)
    _check_embedding(backend, streams[0])


def _random_frames(backend: Backend, n_steps: int, seed: int) -> np.ndarray:
    """f32[n_steps, 1, frames_per_step, n_mels], about as large as real frames."""
    shape = (n_steps, *backend.spec.frames.shape)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _check_initial_state(backend: Backend) -> None:
    expected = zero_state(backend.spec)
    for _ in range(backend.spec.quiet_steps):
        _, expected = backend.step(silence(backend.spec), expected)
    state = backend.initial_state()
    assert len(state) == len(backend.spec.state)
    for array, tensor in zip(state, backend.spec.state, strict=True):
        assert array.shape == tensor.shape
        assert array.dtype == tensor.dtype
    _assert_states_equal(state, expected)
    for array in state:
        array[...] = 1
    _assert_states_equal(backend.initial_state(), expected)  # not shared between streams


def _check_inputs_kept(backend: Backend, stream: np.ndarray) -> None:
    _, state = backend.step(stream[0], backend.initial_state())
    frames, kept = stream[1].copy(), _copy(state)
    backend.step(frames, state)
    np.testing.assert_array_equal(frames, stream[1])
    _assert_states_equal(state, kept)


def _check_outputs_owned(backend: Backend, stream: np.ndarray) -> None:
    state = backend.initial_state()
    results = []
    for frames in stream:
        scores, next_state = backend.step(frames, state)
        assert scores.shape == (backend.spec.scores.shape[1],)
        assert scores.dtype == np.float32
        results.append((scores, next_state, scores.copy(), _copy(next_state)))
        state = next_state
    for scores, next_state, scores_then, state_then in results:
        np.testing.assert_array_equal(scores, scores_then)
        _assert_states_equal(next_state, state_then)
    _check_disjoint(backend, stream[0])


def _check_disjoint(backend: Backend, frames: np.ndarray) -> None:
    """Writing into what one step returned changes neither its inputs nor a later step."""
    state = backend.initial_state()
    kept = _copy(state)
    expected, _ = backend.step(frames, state)
    expected = expected.copy()
    scores, next_state = backend.step(frames, state)
    for array in (scores, *next_state):
        array[...] = 7.0
    _assert_states_equal(state, kept)
    np.testing.assert_array_equal(backend.step(frames, state)[0], expected)


def _check_fresh_start_repeats(backend: Backend, stream: np.ndarray) -> None:
    first, again = _run(backend, stream), _run(backend, stream)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[-1]), "scores never change: nothing was computed"


def _check_streams_do_not_mix(backend: Backend, a: np.ndarray, b: np.ndarray) -> None:
    alone = _run(backend, a), _run(backend, b)
    states = [backend.initial_state(), backend.initial_state()]
    together: list[list[np.ndarray]] = [[], []]
    for pair in zip(a, b, strict=True):
        for i, frames in enumerate(pair):
            scores, states[i] = backend.step(frames, states[i])
            together[i].append(scores)
    for i in range(2):
        np.testing.assert_array_equal(np.stack(together[i]), alone[i])


def _check_embedding(backend: Backend, stream: np.ndarray) -> None:
    """`embed` takes the same step as `step`; without an embedding it says what to do."""
    state = backend.initial_state()
    if backend.spec.embedding is None:
        with pytest.raises(BundleError, match=r"no embedding: use --backend native, .* or export"):
            backend.embed(stream[0], state)
        return
    found = []
    for frames in stream:
        expected, expected_state = backend.step(frames, state)
        scores, embedding, state = backend.embed(frames, state)
        np.testing.assert_array_equal(scores, expected)
        _assert_states_equal(state, expected_state)
        found.append((embedding, embedding.copy()))
    for embedding, then in found:
        np.testing.assert_array_equal(embedding, then)
        assert embedding.dtype == np.float32
        assert embedding.shape == (backend.spec.embedding.shape[1],)
        assert np.abs(embedding).max() <= EMBEDDING_BOUND
    assert not np.array_equal(found[0][0], found[-1][0]), "the embedding never changes"


def _run(backend: Backend, stream: np.ndarray) -> np.ndarray:
    state, rows = backend.initial_state(), []
    for frames in stream:
        scores, state = backend.step(frames, state)
        rows.append(scores)
    return np.stack(rows)


def _copy(state: State) -> State:
    return tuple(array.copy() for array in state)


def _assert_states_equal(found: State, expected: State) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
