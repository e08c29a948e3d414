"""The queue between an audio callback and its listener loses the oldest, and says how much."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from edge_audio.sources.queue import AudioQueue, Taken


class Chunk(NamedTuple):
    number: int
    n_frames: int


def test_an_empty_queue_gives_nothing_in_time() -> None:
    assert AudioQueue[Chunk](3).get(0.001) is None


def test_a_full_queue_drops_the_oldest_and_tells_before_what() -> None:
    queue = AudioQueue[Chunk](2)
    for number in range(5):
        queue.put(Chunk(number, 10 + number))
    assert queue.n_lost_frames == 10 + 11 + 12
    assert queue.get(0.0) == Taken(Chunk(3, 13), 33)
    assert queue.get(0.0) == Taken(Chunk(4, 14), 0)
    assert queue.get(0.0) is None


@given(st.integers(1, 5), st.lists(st.one_of(st.none(), st.integers(1, 9)), max_size=40))
def test_what_was_put_is_taken_or_counted_in_order(capacity: int, steps: list[int | None]) -> None:
    queue = AudioQueue[Chunk](capacity)
    n_put = position = 0
    for number, n_frames in enumerate([*steps, *[None] * capacity]):
        if n_frames is not None:
            queue.put(Chunk(n_put, n_frames))
            n_put += n_frames
        elif (taken := queue.get(0.0)) is not None:
            position += taken.n_lost_frames
            assert taken.chunk.number == position, number
            position += taken.chunk.n_frames
    assert position == n_put


def test_a_chunk_that_wakes_nobody_is_found_by_who_comes() -> None:
    queue = AudioQueue[Chunk](3)
    found: list[Taken[Chunk] | None] = []
    waiting = threading.Thread(target=lambda: found.append(queue.get(60.0)))
    waiting.start()
    queue.put(Chunk(0, 1), wakes=False)
    time.sleep(0.2)
    assert not found or found == [Taken(Chunk(0, 1), 0)]  # where it came before the thread
    queue.put(Chunk(1, 1))
    waiting.join(10.0)
    assert found == [Taken(Chunk(0, 1), 0)]
    assert queue.get(0.0) == Taken(Chunk(1, 1), 0)


def test_more_is_what_follows_without_a_loss_and_goes_with_it() -> None:
    queue = AudioQueue[Chunk](4)
    for number in range(4):
        queue.put(Chunk(number, 1))
    assert queue.get(0.0) == Taken(Chunk(0, 1), 0)
    assert queue.get_more(9, lambda chunk: chunk.number != 2) == [Chunk(1, 1)]
    for number in range(4, 8):
        queue.put(Chunk(number, 1))
    assert queue.get_more(9, lambda chunk: True) == []  # 2 and 3 are lost
    assert queue.get(0.0) == Taken(Chunk(4, 1), 2)
    assert queue.get_more(2, lambda chunk: True) == [Chunk(5, 1), Chunk(6, 1)]


def test_closing_ends_the_wait_for_a_chunk() -> None:
    queue = AudioQueue[Chunk](1)
    threading.Timer(0.1, queue.close).start()
    assert queue.get(1e6) is None
