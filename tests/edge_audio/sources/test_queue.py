"""The queue between an audio callback and its listener loses the oldest, and says how much."""

from __future__ import annotations

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
