"""The embedding that the engine hands out is what the head reads."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.firmware_bridge.engine_library import (
    STEP,
    Model,
    Stream,
    aligned,
    compile_library,
    noise,
    open_model,
    zoo_image,
)

OVERLAP = 240  # that the first step needs beyond its own


@pytest.fixture(scope="module", params=[(), ("-DEA_PLAIN",)], ids=["lanes", "plain"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    library = compile_library(tmp_path_factory.mktemp("engine"), request.param)
    return open_model(library, zoo_image("mixed"))


def address(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def stepped(model: Model, samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """f32[n_steps, embedding_dim], taken from the working memory behind each ea_step."""
    library, handle = model.library, model.address
    network = aligned(library.ea_network_size(handle))
    scratch = aligned(library.ea_scratch_size(handle))
    scores = np.zeros(model.n_labels, np.float32)
    audio = samples.astype(np.float32) / np.float32(32_768.0)
    frames = np.zeros(((len(samples) - OVERLAP) // 160, 64), np.float32)
    library.ea_log_mel(handle, address(audio), len(frames), address(frames), address(scratch))
    library.ea_begin(handle, address(network), address(scores), address(scratch))
    at = library.ea_step_embedding(handle, address(scratch))
    n = library.ea_embedding_dim(handle)
    found = []
    for start in range(0, len(frames), 8):
        block = np.ascontiguousarray(frames[start : start + 8])
        library.ea_step(handle, address(network), address(block), address(scores), address(scratch))
        found.append(np.frombuffer(ctypes.string_at(at, 4 * n), np.float32))
    return np.stack(found)


def test_a_stream_has_the_embedding_of_each_step_at_its_end(model: Model) -> None:
    samples = noise(OVERLAP + 10 * STEP)
    expected = stepped(model, samples)
    assert expected.std(0).max() > 0.01
    stream = Stream(model)
    assert stream.embedding is None
    for row, end in zip(expected, range(OVERLAP + STEP, len(samples) + 1, STEP), strict=True):
        stream.push(samples[end - STEP - (OVERLAP if end == OVERLAP + STEP else 0) : end])
        np.testing.assert_array_equal(stream.embedding, row)


def test_it_is_gone_once_the_next_step_is_heard_and_never_of_a_step_that_was_not(
    model: Model,
) -> None:
    samples = noise(OVERLAP + 3 * STEP)
    expected = stepped(model, samples)
    stream = Stream(model)
    for start in range(0, len(samples), 100):
        stream.push(samples[start : start + 100])
        found = stream.embedding
        if found is not None:
            np.testing.assert_array_equal(found, expected[stream.n_steps - 1])
    assert stream.n_steps == len(expected)


def test_a_flush_leaves_that_of_the_step_that_it_completes_and_a_reset_none(model: Model) -> None:
    samples = noise(OVERLAP + 2 * STEP + 700)
    padded = np.concatenate([samples, np.zeros(STEP - 700, np.int16)])
    expected = stepped(model, padded)
    stream = Stream(model)
    stream.push(samples)
    stream.flush()
    np.testing.assert_array_equal(stream.embedding, expected[-1])
    stream.reset()
    assert stream.embedding is None
