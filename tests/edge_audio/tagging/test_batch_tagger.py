"""Streams of a batch are as those of taggers of their own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from edge_audio import Event, PolicySpec, Tagger
from edge_audio.backends import Backend
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.tagging.batch_tagger import BatchTagger
from tests.support.scene import SCENE

N_STREAMS = 5
SHIFT = 20_011  # samples, from where one stream begins to where the next one does
SIZES = (0, 1, 97, 1_279, 1_281, 5_003, 40_000)
POLICIES = (None, PolicySpec(), PolicySpec(max_s=0.5), PolicySpec(cooldown_s=1.0))

OpenBatch = Callable[..., BatchTagger]


@pytest.fixture
def opened(loaded: tuple[Bundle, Backend], eventful: EventSpec) -> OpenBatch:
    return lambda policy=None: BatchTagger(*loaded, N_STREAMS, eventful, policy)


@pytest.fixture
def alone(loaded: tuple[Bundle, Backend], eventful: EventSpec) -> Callable[..., list[Tagger]]:
    return lambda policy=None: [Tagger(*loaded, eventful, policy=policy) for _ in range(N_STREAMS)]


def blocks() -> list[np.ndarray]:
    """int16[N_STREAMS, n] each, of different n."""
    streams = np.stack([np.roll(SCENE, -SHIFT * i) for i in range(N_STREAMS)])
    found: list[np.ndarray] = []
    start = 0
    while start < len(SCENE):
        size = SIZES[len(found) % len(SIZES)]
        found.append(streams[:, start : start + size])
        start += size
    return found


def by_stream(found: list[tuple[int, Event]]) -> list[list[Event]]:
    return [[event for stream, event in found if stream == k] for k in range(N_STREAMS)]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_stream_has_the_events_of_a_tagger(
    opened: OpenBatch, alone: Callable[..., list[Tagger]], policy: PolicySpec | None
) -> None:
    batch, taggers = opened(policy), alone(policy)
    for block in blocks():
        found = by_stream(batch.push(block))
        assert found == [tagger.push(row) for tagger, row in zip(taggers, block, strict=True)]
        np.testing.assert_array_equal(batch.scores, [tagger.scores for tagger in taggers])
    assert [batch.time_s(k) for k in range(N_STREAMS)] == [x.time_s for x in taggers]
    assert [batch.flush(k) for k in range(N_STREAMS)] == [x.flush() for x in taggers]
    np.testing.assert_array_equal(batch.scores, [tagger.scores for tagger in taggers])


def test_streams_go_and_end_on_their_own(
    opened: OpenBatch, alone: Callable[..., list[Tagger]]
) -> None:
    batch, taggers = opened(), alone()
    generator = np.random.default_rng(1)
    found: list[list[Event]] = [[] for _ in taggers]
    expected: list[list[Event]] = [[] for _ in taggers]
    for block in blocks():
        some = np.flatnonzero(generator.random(N_STREAMS) < 0.7)[::-1].tolist()
        for stream, event in batch.push(block[some], some):
            found[stream].append(event)
        for stream in some:
            expected[stream] += taggers[stream].push(block[stream])
        ended = int(generator.integers(N_STREAMS))
        if generator.random() < 0.3:
            found[ended] += batch.flush(ended)
            expected[ended] += taggers[ended].flush()
            assert batch.time_s(ended) == 0.0
    assert found == expected
    assert min(map(len, found)) > 5


def test_a_stream_that_is_reset_reports_nothing_of_before(opened: OpenBatch) -> None:
    batch, fresh = opened(), opened()
    first, *rest = blocks()[5:9]
    batch.push(first)
    for stream in range(N_STREAMS):
        batch.reset(stream)
    assert batch.time_s(0) == 0.0
    assert not batch.scores.any()
    assert [batch.push(block) for block in rest] == [fresh.push(block) for block in rest]


@pytest.mark.parametrize(
    ("samples", "streams", "words"),
    [
        (np.zeros(1_280), None, r"shape \(1280,\): pass one row for each stream, \(5, n_samples\)"),
        (np.zeros((4, 1_280)), None, r"shape \(4, 1280\)"),
        (np.zeros((5, 10), np.int64), None, "pass int16"),
        (np.zeros((2, 10)), [0, 5], "no stream 5: they are 0 to 4"),
        (np.zeros((2, 10)), [1, 1], "not each another"),
        (np.zeros((1, 10)), [-1], "no stream -1"),
        (np.zeros((1, 10)), [0.5], "no stream 0.5"),
        (np.zeros((1, 10)), [True], "no stream True"),
        (np.zeros((1, 10)), 1, "streams is 1: give a list of numbers"),
        ([[0.0, 0.0], [0.0]], [0, 1], "samples are no array of numbers"),
        (np.zeros((1, 10)), [0, 1], r"pass one row for each stream, \(2, n_samples\)"),
    ],
)
def test_wrong_blocks_are_refused_and_lose_nothing(
    opened: OpenBatch, samples: Any, streams: Any, words: str
) -> None:
    batch = opened()
    with pytest.raises(UsageError, match=words):
        batch.push(samples, streams)
    assert batch.time_s(0) == 0.0


def test_an_ended_stream_has_its_scores_until_the_next_one_begins(opened: OpenBatch) -> None:
    batch = opened()
    batch.push(np.stack([SCENE[:20_000]] * N_STREAMS))
    batch.flush(0)
    assert batch.scores[0].any()
    batch.push(SCENE[None, :100], [0])
    assert not batch.scores[0].any()
    assert batch.scores[1].any()


@pytest.mark.parametrize("stream", [-1, N_STREAMS, 0.5])
def test_a_stream_that_is_not_there_has_no_time(opened: OpenBatch, stream: Any) -> None:
    with pytest.raises(UsageError, match="no stream"):
        opened().time_s(stream)


def test_nothing_may_be_pushed(opened: OpenBatch) -> None:
    batch = opened()
    assert batch.push(np.zeros((N_STREAMS, 0), np.float32)) == []
    assert batch.push(np.zeros((0, 1_280), np.float32), []) == []
    assert batch.flush(0) == []


def test_it_has_streams_and_is_closed_like_a_tagger(
    loaded: tuple[Bundle, Backend], opened: OpenBatch
) -> None:
    for wrong in (0, 2.5, True, "5", None):
        with pytest.raises(UsageError, match=f"n_streams is {wrong!r}: give a whole number"):
            BatchTagger(*loaded, cast(Any, wrong))
    with opened() as batch:
        assert "5 streams" in repr(batch)
        with pytest.raises(TypeError, match="cannot be pickled"):
            copy.copy(batch)
    with pytest.raises(UsageError, match="is closed"):
        batch.push(np.zeros((N_STREAMS, 10), np.float32))


def test_open_takes_what_a_tagger_takes() -> None:
    batch = BatchTagger.open("micro-int8", 2, only=["Dog"], threshold=0.2)
    tagger = Tagger.open("micro-int8", only=["Dog"], threshold=0.2)
    pcm = SCENE[:60_000]
    found = by_stream(batch.push(np.stack([pcm, pcm])))
    assert found[0] == found[1] == tagger.push(pcm)
    assert batch.top(1, 3) == tagger.top(3)
