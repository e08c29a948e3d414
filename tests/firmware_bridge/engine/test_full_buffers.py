"""Events that do not fit the caller's buffer are reported later, with their true times."""

from __future__ import annotations

import ctypes
import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest

from tests.firmware_bridge.engine_library import (
    END,
    FULL,
    OK,
    START,
    STEP,
    Event,
    Model,
    Stream,
    compile_library,
    noise,
    open_model,
    whole_scores,
    zoo_image,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(tmp_path_factory.mktemp("engine"), ["-O1"])


@pytest.fixture(scope="module")
def model(library: ctypes.CDLL) -> Model:
    return open_model(library, zoo_image("mixed"))


def by_label(events: list[Event]) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        found[event.label].append((event.kind, event.sample))
    return found


def drained(stream: Stream, capacity: int) -> Iterator[Event]:
    """The events of a flush that has room for so many at a time."""
    for _ in range(100):
        events = stream.flush(capacity)
        assert stream.status == (FULL if len(events) == capacity and stream.status else OK)
        yield from events
        if stream.status == OK:
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize("capacity", [0, 1, 2, 5])
@pytest.mark.parametrize("n_samples", [STEP, 100, 3 * STEP])
def test_events_that_do_not_fit_come_later_with_their_true_times(
    model: Model, capacity: int, n_samples: int
) -> None:
    """Every label starts and ends in turn, and its first start is when it would have been."""
    samples = noise(40 * STEP)
    whole = Stream(model)
    expected = by_label([*whole.push(samples), *whole.flush()])
    stream, events = Stream(model), []
    has_been_full = False
    for start in range(0, len(samples), n_samples):
        found = stream.push(samples[start : start + n_samples], capacity)
        has_been_full |= stream.status == FULL
        assert stream.status in (OK, FULL)
        assert stream.status == OK or len(found) == capacity
        events += found
    np.testing.assert_array_equal(stream.scores, whole_scores(model, samples))
    events += drained(stream, max(capacity, 1))
    assert has_been_full or capacity > 1
    found_by_label = by_label(events)
    assert set(found_by_label) == set(expected)
    for label, changes in found_by_label.items():
        kinds, times = zip(*changes, strict=True)
        assert kinds == tuple(itertools.islice(itertools.cycle((START, END)), len(kinds)))
        assert kinds[-1] == END
        assert list(times) == sorted(times)
        assert changes[0] == expected[label][0]


def test_as_many_as_there_are_labels_are_enough_for_a_step(model: Model) -> None:
    samples = noise(40 * STEP)
    stream, whole = Stream(model), Stream(model)
    events: list[Event] = []
    for start in range(0, len(samples), STEP):
        events += stream.push(samples[start : start + STEP], model.n_labels)
        assert stream.status == OK
    assert events == whole.push(samples)


def test_a_flush_into_a_small_buffer_goes_on_where_it_stopped(model: Model) -> None:
    samples = noise(40 * STEP)
    stream, whole = Stream(model), Stream(model)
    stream.push(samples)
    whole.push(samples)
    expected = whole.flush()
    assert len(expected) >= 3
    assert stream.flush(0) == []
    assert stream.status == FULL
    found = [*drained(stream, 1)]
    assert sorted(found) == sorted(expected)
    assert stream.flush(1) == []
    assert stream.status == OK
