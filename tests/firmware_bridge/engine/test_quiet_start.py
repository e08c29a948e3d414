"""A stream of the engine begins with the state that the image's steps of silence leave."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from edge_audio.engine.image import StateType
from tests.firmware_bridge.engine_images import (
    ATTACK_AT,
    HEADER_BYTES,
    QUIET_STEPS_AT,
    Layout,
    with_quiet_steps,
)
from tests.firmware_bridge.engine_library import (
    Model,
    Stream,
    aligned,
    compile_library,
    noise,
    open_model,
    sealed,
    zoo_image,
)

FIRST_STEP_SAMPLES = 1_520


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(tmp_path_factory.mktemp("engine"), ["-O1"])


def version_1(image: bytes) -> bytes:
    """The same as an image that knows of no silence, nor of an attack or related labels."""
    starts = Layout(image).starts
    quiet, attack = starts["sizes"] + QUIET_STEPS_AT, starts["settings"] + ATTACK_AT
    related, window = starts["related"], starts["window"]
    body = image[HEADER_BYTES:quiet] + image[quiet + 4 : attack] + image[attack + 4 : related]
    return sealed(body + image[window:], version=1)


def first_scores(model: Model) -> np.ndarray:
    return scores_of(Stream(model))


def scores_of(stream: Stream) -> np.ndarray:
    stream.push(noise(FIRST_STEP_SAMPLES))
    assert stream.n_steps == 1
    return stream.scores


def begun(model: Model) -> np.ndarray:
    """The network's memory as ea_begin leaves it, whatever was there."""
    library = model.library
    network = aligned(library.ea_network_size(model.address))
    scores, scratch = aligned(4 * model.n_labels), aligned(library.ea_scratch_size(model.address))
    library.ea_begin(model.address, *(x.ctypes.data for x in (network, scores, scratch)))
    return network


@pytest.mark.parametrize("state", ["float", "int16"])
def test_a_stream_begins_behind_so_much_silence(library: ctypes.CDLL, state: StateType) -> None:
    image = zoo_image("mixed", state)
    zeros, quiet = (with_quiet_steps(image, n) for n in (0, 3))
    model = open_model(library, zeros)
    network = begun(model)
    assert not network.any()
    scores, scratch = aligned(4 * model.n_labels), aligned(library.ea_scratch_size(model.address))
    samples = np.zeros(FIRST_STEP_SAMPLES, np.float32)
    frames = np.empty((8, 64), np.float32)
    into = frames.ctypes.data, scratch.ctypes.data
    library.ea_log_mel(model.address, samples.ctypes.data, len(frames), *into)
    for _ in range(3):
        arguments = (network, frames, scores, scratch)
        library.ea_step(model.address, *(x.ctypes.data for x in arguments))
    assert network.any()
    np.testing.assert_array_equal(begun(open_model(library, quiet)), network)


def test_the_silence_is_heard_in_the_first_scores(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    found = [first_scores(open_model(library, with_quiet_steps(image, n))) for n in (0, 3, 25)]
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert np.abs(found[1] - found[2]).max() > 1e-4


def test_images_of_version_1_begin_with_zeros(library: ctypes.CDLL) -> None:
    image = zoo_image("mixed")
    old = open_model(library, version_1(image))
    expected = first_scores(open_model(library, with_quiet_steps(image, 0)))
    np.testing.assert_array_equal(first_scores(old), expected)


def test_a_stream_that_starts_anew_goes_back_to_it(library: ctypes.CDLL) -> None:
    model = open_model(library, zoo_image("mixed"))
    expected, stream = first_scores(model), Stream(model)
    assert not stream.scores.any()
    for start_anew in (stream.reset, stream.flush):
        stream.push(noise(30_000, seed=1))
        start_anew()
        np.testing.assert_array_equal(scores_of(stream), expected)
    stream.reset()
    assert not stream.scores.any()
