"""What the C engine does not accept from its caller, it refuses with the documented status."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tests.firmware_bridge.engine_library import (
    BAD_ARGUMENT,
    OK,
    STEP,
    TOO_SMALL,
    UNALIGNED,
    Model,
    Stream,
    compile_library,
    noise,
    open_model,
    zoo_image,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(tmp_path_factory.mktemp("engine"), ["-O1"])


@pytest.fixture(scope="module")
def model(library: ctypes.CDLL) -> Model:
    return open_model(library, zoo_image("mixed"))


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_memory_that_is_not_aligned_is_refused(library: ctypes.CDLL, offset: int) -> None:
    assert Model(library, zoo_image("mixed"), offset).status == UNALIGNED
    assert Stream(open_model(library, zoo_image("mixed")), offset=offset).status == UNALIGNED


def test_too_little_memory_is_refused(model: Model) -> None:
    for n_missing in (1, 8, model.state_size):
        stream = Stream(model, n_missing)
        assert stream.status == TOO_SMALL
        assert stream.handle is None
    assert Stream(model).status == OK


def test_null_pointers_are_bad_arguments(model: Model) -> None:
    library, stream = model.library, Stream(model)
    handle, n, events = (
        stream.handle,
        ctypes.byref(ctypes.c_size_t()),
        ctypes.create_string_buffer(24),
    )
    memory = ctypes.create_string_buffer(model.state_size)
    out = ctypes.byref(ctypes.c_void_p())
    one, real = ctypes.byref(ctypes.c_int16()), ctypes.byref(ctypes.c_float())
    calls = (
        library.ea_open(None, memory, 16),
        library.ea_open(model.address, None, 16),
        library.ea_init(None, model.address, memory, len(memory)),
        library.ea_init(out, None, memory, len(memory)),
        library.ea_init(out, model.address, None, 2**20),
        library.ea_push(None, one, 1, events, 1, n),
        library.ea_push(handle, None, 1, events, 1, n),
        library.ea_push(handle, one, 1, None, 1, n),
        library.ea_push(handle, one, 1, events, 1, None),
        library.ea_flush(None, events, 1, n),
        library.ea_flush(handle, None, 1, n),
        library.ea_flush(handle, events, 1, None),
        library.ea_set_threshold(None, 0, 0.5, 0.5),
        library.ea_threshold(None, 0, real, real),
        library.ea_threshold(handle, 0, None, real),
        library.ea_threshold(handle, 0, real, None),
    )
    assert calls == (BAD_ARGUMENT,) * len(calls)
    assert library.ea_state_size(None) == library.ea_scratch_size(None) == 0
    assert library.ea_network_size(None) == 0
    assert stream.n_samples == 0
    assert library.ea_push(handle, None, 0, None, 0, n) == OK


def test_thresholds_out_of_range_are_bad_arguments(model: Model) -> None:
    stream = Stream(model)
    nan, inf = float("nan"), float("inf")
    before = stream.threshold(3)
    pairs = [(0.5, 0.6), (0.5, 0.0), (0.0, 0.5), (1.1, 0.5), (-0.5, -0.5), (0.5, -0.1)]
    for on, off in [*pairs, (nan, 0.5), (0.5, nan), (nan, nan), (inf, 0.5), (inf, inf)]:
        assert stream.set_threshold(3, on, off) == BAD_ARGUMENT
    assert stream.set_threshold(20, 0.5, 0.4) == BAD_ARGUMENT
    assert stream.set_threshold(2**32 - 1, 0.5, 0.4) == BAD_ARGUMENT
    real = ctypes.byref(ctypes.c_float())
    assert model.library.ea_threshold(stream.handle, 20, real, real) == BAD_ARGUMENT
    assert stream.threshold(3) == before
    for on, off in ((1.0, 1.0), (0.5, 0.5), (1e-6, 1e-9), (0.0, 0.0), (-0.0, -0.0)):
        assert stream.set_threshold(3, on, off) == OK
    assert stream.threshold(3) == (0.0, 0.0)


def test_pushing_nothing_changes_nothing(model: Model) -> None:
    stream, empty = Stream(model), np.zeros(0, np.int16)
    assert stream.push(empty) == []
    assert (stream.status, stream.n_samples, stream.n_steps) == (OK, 0, 0)
    samples = noise(5 * STEP)
    stream.push(samples)
    before = stream.scores
    assert stream.push(empty, capacity=0) == []
    assert stream.status == OK
    np.testing.assert_array_equal(stream.scores, before)
    assert stream.n_samples == 5 * STEP
