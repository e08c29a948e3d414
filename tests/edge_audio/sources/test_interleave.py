"""Several sources in one thread: nothing is lost unseen, and errors stay with theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from edge_audio.errors import SourceError
from edge_audio.sources.base import Block
from edge_audio.sources.interleave import MAX_WAITING_S, Feed, feed_blocks, interleaved

RATE_HZ = 100


def blocks(n: int, error: Exception | None = None) -> Iterator[Block]:
    """n blocks of half a second, numbered by their samples."""
    for i in range(n):
        yield Block(np.full(50, i, np.float32), i * 0.5)
    if error is not None:
        raise error


def feed(blocks: Iterable[Block], waits: bool = True) -> Feed[Block]:
    return feed_blocks(blocks, RATE_HZ, waits, stop=lambda: None)


def numbers(heard: list[tuple[int, Block]], source: int) -> list[int]:
    return [int(block.samples[0]) for i, block in heard if i == source]


def test_every_block_of_files_comes_in_order_however_slow_the_listener() -> None:
    ended: list[int] = []
    heard = []
    feeds = [feed(blocks(30)), feed(blocks(20))]
    for item in interleaved(feeds, lambda i, error: ended.append(i)):
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
    for item in interleaved([feed(live(), waits=False)], lambda i, error: None):
        assert delivered.wait(10.0)
        heard.append(item)
    kept = numbers(heard, 0)
    assert kept[-1] == 39
    assert len(kept) <= MAX_WAITING_S / 0.5 + 1
    position = 0
    for _, block in heard:
        position += block.n_lost_samples
        assert position == int(block.samples[0]) * 50
        position += len(block.samples)


def test_a_burst_of_a_source_known_for_it_is_kept() -> None:
    delivered = threading.Event()

    def burst() -> Iterator[Block]:
        yield from blocks(40)  # 20 s
        delivered.set()

    heard = []
    one = feed_blocks(burst(), RATE_HZ, False, lambda: None, max_burst_s=20.0)
    for item in interleaved([one], lambda i, error: None):
        assert delivered.wait(10.0)
        heard.append(item)
    assert numbers(heard, 0) == list(range(40))


def test_what_comes_faster_than_anything_live_is_a_recording_and_waits() -> None:
    heard = []
    one = feed_blocks(blocks(400), RATE_HZ, False, lambda: None, max_burst_s=20.0)
    for item in interleaved([one], lambda i, error: None):
        heard.append(item)
        time.sleep(0.001)
    assert numbers(heard, 0) == list(range(400))
    assert not any(block.n_lost_samples for _, block in heard)


def test_a_source_that_fails_leaves_the_others_alone() -> None:
    ended: dict[int, Exception | None] = {}
    failure = SourceError("unplugged")
    feeds = [feed(blocks(2, failure), waits=False), feed(blocks(10))]
    heard = list(interleaved(feeds, ended.__setitem__))
    assert ended == {0: failure, 1: None}
    assert numbers(heard, 0) == [0, 1]
    assert numbers(heard, 1) == list(range(10))


def test_somebody_looks_around_while_no_source_delivers() -> None:
    looked = threading.Event()

    def silent() -> Iterator[Block]:
        assert looked.wait(20.0)
        yield from blocks(1)

    heard = list(interleaved([feed(silent(), waits=False)], lambda i, error: None, looked.set))
    assert numbers(heard, 0) == [0]


def test_a_listener_that_leaves_frees_the_threads() -> None:
    before = threading.active_count()
    items = interleaved([feed(blocks(1000))], lambda i, error: None)
    next(items)
    items.close()
    assert threading.active_count() <= before


@pytest.mark.parametrize("n_sources", [1, 3, 16])
def test_sources_take_turns(n_sources: int) -> None:
    feeds = [feed(blocks(8)) for _ in range(n_sources)]
    heard = list(interleaved(feeds, lambda i, error: None))
    for source in range(n_sources):
        assert numbers(heard, source) == list(range(8))


class Slow:
    """A source that says whether it was closed while it was read."""

    def __init__(self) -> None:
        self.is_reading = self.was_closed_amid = False
        self.stopped = threading.Event()

    def blocks(self) -> Iterator[Block]:
        while not self.stopped.is_set():
            self.is_reading = True
            time.sleep(0.2)  # as a read of a device does
            self.is_reading = False
            yield Block(np.zeros(50, np.float32), 0.0)

    def close(self) -> None:
        self.was_closed_amid = self.is_reading


@pytest.mark.parametrize("waits", [True, False])
def test_what_is_read_is_closed_when_nobody_reads_any_more(waits: bool) -> None:
    sources = [Slow(), Slow()]
    feeds = [feed_blocks(s.blocks(), RATE_HZ, waits, s.stopped.set) for s in sources]
    items = interleaved(feeds, lambda i, error: None)
    next(items)
    items.close()
    for source in sources:
        source.close()
    assert not any(source.was_closed_amid for source in sources)
    assert all(feed.is_over for feed in feeds)


def test_an_error_of_whoever_takes_ends_the_threads_too() -> None:
    source = Slow()
    one = feed_blocks(source.blocks(), RATE_HZ, True, source.stopped.set)

    def fail(index: int, error: Exception | None) -> None:
        raise SourceError("the last one")

    with pytest.raises(SourceError):
        list(interleaved([feed(blocks(1)), one], fail))
    assert one.is_over


def test_a_feed_that_is_not_started_reads_nothing() -> None:
    read: list[int] = []

    def counted() -> Iterator[Block]:
        read.append(1)
        yield from blocks(1)

    feed(counted())
    time.sleep(0.1)
    assert not read
