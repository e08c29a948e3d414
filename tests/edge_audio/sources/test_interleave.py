"""Several sources in one thread: nothing is lost unseen, and errors stay with theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge_audio.errors import SourceError
from edge_audio.sources.base import Block
from edge_audio.sources.interleave import MAX_WAITING_S, interleaved

RATE_HZ = 100


def blocks(n: int, error: Exception | None = None) -> Iterator[Block]:
    """n blocks of half a second, numbered by their samples."""
    for i in range(n):
        yield Block(np.full(50, i, np.float32), i * 0.5)
    if error is not None:
        raise error


def numbers(heard: list[tuple[int, Block]], source: int) -> list[int]:
    return [int(block.samples[0]) for i, block in heard if i == source]


def test_every_block_of_files_comes_in_order_however_slow_the_listener() -> None:
    ended: list[int] = []
    heard = []
    rows = [(blocks(30), RATE_HZ, False), (blocks(20), RATE_HZ, False)]
    for item in interleaved(rows, lambda i, error: ended.append(i)):
        heard.append(item)
        time.sleep(0.001)
    assert numbers(heard, 0) == list(range(30))
    assert numbers(heard, 1) == list(range(20))
    assert sorted(ended) == [0, 1]


def test_a_slow_listener_loses_the_oldest_live_audio_and_is_told() -> None:
    delivered = threading.Event()

    def live() -> Iterator[Block]:
        yield from blocks(40)
        delivered.set()

    heard = []
    for item in interleaved([(live(), RATE_HZ, True)], lambda i, error: None):
        assert delivered.wait(10.0)
        heard.append(item)
    kept = numbers(heard, 0)
    assert kept[-1] == 39
    assert len(kept) <= MAX_WAITING_S / 0.5 + 1
    position = 0
    for _, block in heard:
        position += block.n_dropped
        assert position == int(block.samples[0]) * 50
        position += len(block.samples)


def test_a_source_that_fails_leaves_the_others_alone() -> None:
    ended: dict[int, Exception | None] = {}
    failure = SourceError("unplugged")
    rows = [(blocks(2, failure), RATE_HZ, True), (blocks(10), RATE_HZ, False)]
    heard = list(interleaved(rows, ended.__setitem__))
    assert ended == {0: failure, 1: None}
    assert numbers(heard, 0) == [0, 1]
    assert numbers(heard, 1) == list(range(10))


def test_somebody_looks_around_while_no_source_delivers() -> None:
    looked = threading.Event()

    def silent() -> Iterator[Block]:
        assert looked.wait(20.0)
        yield from blocks(1)

    heard = list(interleaved([(silent(), RATE_HZ, True)], lambda i, error: None, looked.set))
    assert numbers(heard, 0) == [0]


def test_a_listener_that_leaves_frees_the_threads() -> None:
    before = threading.active_count()
    items = interleaved([(blocks(1000), RATE_HZ, False)], lambda i, error: None)
    next(items)
    items.close()  # type: ignore[attr-defined]
    deadline_s = time.monotonic() + 10.0
    while threading.active_count() > before and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert threading.active_count() <= before


@pytest.mark.parametrize("n_sources", [1, 3, 16])
def test_sources_take_turns(n_sources: int) -> None:
    rows = [(blocks(8), RATE_HZ, False) for _ in range(n_sources)]
    heard = list(interleaved(rows, lambda i, error: None))
    for source in range(n_sources):
        assert numbers(heard, source) == list(range(8))
