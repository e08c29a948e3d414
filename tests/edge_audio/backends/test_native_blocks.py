"""Whole blocks in one call of the engine give the bits of its single steps, and labels are followed
in C as in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_audio.backends.native import NativeBackend
from edge_audio.backends.stream import BlockBackend, ScoreStream, SteppedStream, open_stream
from edge_audio.bundle.store import load_bundle
from edge_audio.events.detector import Watched, watch_in_numpy
from tests.support import toy
from tests.support.runtimes import open_or_skip

STEP, OVERLAP, N_STEPS = 1280, 240, 30
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 1.5, -1.5, 1e-40]


@pytest.fixture(scope="module")
def backend() -> NativeBackend:
    opened = open_or_skip(load_bundle("micro-int8"), "native")
    assert isinstance(opened, NativeBackend)
    return opened


def wild_samples() -> np.ndarray:
    samples = toy.noise(OVERLAP + N_STEPS * STEP, seed=3).astype(np.float32) / 32768.0
    samples[:: len(samples) // 50][: len(SPECIAL)] = SPECIAL
    return samples


def test_the_engine_takes_blocks_and_other_backends_take_steps(backend: NativeBackend) -> None:
    assert isinstance(backend, BlockBackend)
    assert not isinstance(toy.NumpyBackend(), BlockBackend)


@pytest.mark.parametrize("n_steps", [[30], [1], [2, 5, 1]])
def test_blocks_have_the_bits_of_steps(backend: NativeBackend, n_steps: list[int]) -> None:
    samples = wild_samples()
    expected = np.array(list(SteppedStream(backend, backend.spec).push(samples)))
    stream, found, start, i = open_stream(backend, backend.spec), [], 0, 0
    while start < len(samples):
        end = start + n_steps[i % len(n_steps)] * STEP + (OVERLAP if start == 0 else 0)
        found += list(stream.push(samples[start:end]))
        start, i = end, i + 1
    np.testing.assert_array_equal(np.array(found), expected)


def test_embeddings_of_blocks_are_those_of_steps(backend: NativeBackend) -> None:
    samples = wild_samples()
    expected = SteppedStream(backend, backend.spec).embed(samples)
    found = open_stream(backend, backend.spec).embed(samples)
    assert [len(rows) for rows in found] == [N_STEPS, N_STEPS]
    for rows, rows_then in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows, rows_then)


def test_a_stream_that_forgets_its_samples_keeps_the_network(backend: NativeBackend) -> None:
    samples = wild_samples()
    cut = OVERLAP + 4 * STEP
    rows = []
    for stream in (SteppedStream(backend, backend.spec), open_stream(backend, backend.spec)):
        first = list(stream.push(samples[:cut]))
        stream.forget_samples()
        again = list(stream.push(samples[cut : 2 * cut]))
        assert len(again) == 4
        stream.reset()
        assert np.array_equal(list(stream.push(samples[:cut])), first)
        rows.append([*first, *again])
    np.testing.assert_array_equal(rows[0], rows[1])


def test_what_is_left_of_samples_stays_for_the_next_block(backend: NativeBackend) -> None:
    samples = wild_samples()[: OVERLAP + 3 * STEP]
    stream = backend.open_stream()
    assert len(stream.push(samples[:0])) == 0
    assert len(stream.push(samples[: STEP - 1])) == 0
    found = stream.push(samples[STEP - 1 :])
    np.testing.assert_array_equal(found, list(SteppedStream(backend, backend.spec).push(samples)))


@pytest.mark.parametrize("n_samples", [1, 97, 1279, 1281, 5000])
def test_pieces_of_any_length_lose_no_sample(backend: NativeBackend, n_samples: int) -> None:
    samples = wild_samples()[: OVERLAP + 6 * STEP + 50]
    pieces = [samples[i : i + n_samples] for i in range(0, len(samples), n_samples)]
    expected = backend.open_stream().push(samples)
    for stream in (backend.open_stream(), SteppedStream(backend, backend.spec)):
        found = np.concatenate([stream.push(piece) for piece in pieces])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_samples", [0, 97, 1281, 5000])
def test_to_follow_a_block_is_to_push_it_and_watch_its_scores(
    backend: NativeBackend, n_samples: int
) -> None:
    samples = wild_samples()
    index = np.arange(0, backend.spec.scores.shape[1], 3)

    def fresh() -> Watched:
        smoothed, peak = np.zeros((2, len(index)), np.float32)
        limit = np.full(len(index), 0.05, np.float32)
        factors = np.float32(0.7), np.float32(0.3)
        return Watched(index, smoothed, peak, limit, np.zeros(len(index), bool), *factors)

    labels = [fresh() for _ in range(3)]
    streams: list[ScoreStream] = [backend.open_stream(), backend.open_stream()]
    streams.append(SteppedStream(backend, backend.spec))
    at_once, in_turn, stepped = (backend.open_watch(one) for one in labels)
    for start in range(0, len(samples), n_samples or len(samples)):
        piece = samples[start : start + n_samples]
        expected = streams[0].push(piece)
        n_quiet = in_turn(expected) if len(expected) else 0
        for stream, watch in zip(streams[1:], (at_once, stepped), strict=True):
            scores, n_watched = stream.follow(piece, watch)
            np.testing.assert_array_equal(scores, expected)
            assert n_watched == n_quiet
    for one in labels[1:]:
        np.testing.assert_array_equal(one.smoothed, labels[0].smoothed)
        np.testing.assert_array_equal(one.peak, labels[0].peak)


def test_scores_are_numbers_whatever_is_in_the_network(backend: NativeBackend) -> None:
    stream = backend.open_stream()
    stream.memory.view(np.float32)[64:-2048] = np.nan  # most of the network
    scores = stream.push(wild_samples())
    assert len(scores) == N_STEPS
    assert np.isfinite(scores).all()


WORDS = st.floats(width=32) | st.floats(-0.5, 1.5, width=32)


@settings(max_examples=50, deadline=None)
@given(scores=arrays.arrays(np.float32, (12, 40), elements=WORDS), seed=st.integers(0, 99))
def test_labels_are_followed_in_c_as_in_numpy(
    backend: NativeBackend, scores: np.ndarray, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    index = np.flatnonzero(generator.random(40) < 0.6)
    limit = generator.choice(np.array([0.2, 0.7, np.inf], np.float32), len(index))
    is_active = generator.random(len(index)) < 0.3

    def fresh() -> Watched:
        smoothed, peak = np.zeros((2, len(index)), np.float32)
        return Watched(index, smoothed, peak, limit, is_active, np.float32(0.7), np.float32(0.3))

    mine, numpys = fresh(), fresh()
    in_c, in_numpy = backend.open_watch(mine), watch_in_numpy(numpys)
    while len(scores):
        n_quiet = in_c(scores)
        assert n_quiet == in_numpy(scores)
        np.testing.assert_array_equal(mine.smoothed, numpys.smoothed)
        np.testing.assert_array_equal(mine.peak, numpys.peak)
        scores = scores[n_quiet + 1 :]
