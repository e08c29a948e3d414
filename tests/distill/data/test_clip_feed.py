"""A feed gives every clip once an epoch, in an order that follows from its seed alone."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.data.clip_feed import WHOLE, ClipFeed, FeedConfig, Part
from distill.data.clip_list import read_clip_list
from distill.data.clip_store import ClipStore
from distill.data.split import Split
from distill.mixing.feed_mixer import FeedMixer
from distill.mixing.mixtures import Mixer, MixtureConfig
from edge_audio.errors import SourceError, UsageError
from tests.distill import workshop
from tests.distill.workshop import RATE_HZ


def open_feed(folder: Path, part: Part = WHOLE, seed: int = 0, **config: int) -> ClipFeed:
    clips = read_clip_list(folder)
    config = {"pool_size": 4, "n_interleaved": 2, **config}
    return ClipFeed(folder, clips, range(len(clips)), RATE_HZ, seed, FeedConfig(**config), part)


@pytest.mark.parametrize("kind", ["data", "shards"])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 30])
def test_every_clip_is_heard_once_an_epoch_across_all_parts(
    kind: str, n_parts: int, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    store = ClipStore.open(folder, read_clip_list(folder), RATE_HZ, folder.parent / "cache")
    for epoch in (0, 3):
        parts = [open_feed(folder, Part(number, n_parts)) for number in range(n_parts)]
        heard = [clip for part in parts for clip in part.epoch(epoch)]
        assert sorted(clip.clip_index for clip in heard) == list(range(30))
        assert {len(part) for part in parts} <= {30 // n_parts, -(-30 // n_parts)}
        for clip in heard:
            np.testing.assert_array_equal(clip.samples, store[clip.clip_index])


@pytest.mark.parametrize("start", [0, 1, 4, 13, 29, 30])
def test_epoch_goes_on_at_any_position(shards: Path, start: int) -> None:
    whole = list(open_feed(shards).epoch(1))
    assert [clip.position for clip in whole] == list(range(30))
    rest = list(open_feed(shards).epoch(1, start))
    assert [(c.position, c.clip_index) for c in rest] == [
        (c.position, c.clip_index) for c in whole[start:]
    ]


def test_going_on_reads_nothing_of_what_lies_before(data: Path, tmp_path: Path) -> None:
    workshop.make_data(tmp_path, n_per_fold=1)
    clips = read_clip_list(tmp_path)
    whole = list(open_feed(data).epoch(0))
    for clip in whole[:16]:
        (tmp_path / clips[clip.clip_index].path).unlink()
    rest = open_feed(tmp_path).epoch(0, 16)
    assert [clip.clip_index for clip in rest] == [clip.clip_index for clip in whole[16:]]


def test_order_follows_seed_and_epoch_alone(shards: Path) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [clip.clip_index for clip in open_feed(shards, seed=seed).epoch(epoch)]

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert orders == [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_pools_can_be_made_in_any_order_by_any_process(shards: Path) -> None:
    stream = open_feed(shards)
    numbers = list(range(2 * stream.n_pools))
    expected = {number: stream.pool(number) for number in numbers}
    for number in reversed(numbers):
        pool = pickle.loads(pickle.dumps(open_feed(shards))).pool(number)
        np.testing.assert_array_equal(pool.indices, expected[number].indices)
        for index in pool.indices:
            np.testing.assert_array_equal(pool[index], expected[number][index])


@settings(max_examples=40, deadline=None)
@given(
    pool_size=st.integers(1, 40),
    n_interleaved=st.integers(1, 6),
    n_parts=st.integers(1, 5),
    chosen=st.sets(st.integers(0, 29), min_size=5),
)
def test_pools_are_bounded_and_cover_the_chosen_clips(
    shards: Path, pool_size: int, n_interleaved: int, n_parts: int, chosen: set[int]
) -> None:
    clips, config = (
        read_clip_list(shards),
        FeedConfig(pool_size=pool_size, n_interleaved=n_interleaved),
    )
    heard: list[int] = []
    for number in range(n_parts):
        part = Part(number, n_parts)
        stream = ClipFeed(shards, clips, sorted(chosen), RATE_HZ, 0, config, part)
        sizes = []
        for pool_number in range(stream.n_pools):
            pool = stream.pool(pool_number)
            heard += pool.indices.tolist()
            sizes.append(len(pool))
        assert max(sizes) <= pool_size
        assert max(sizes) - min(sizes) <= 1
    assert sorted(heard) == sorted(chosen)


def test_a_pool_reads_from_few_shards(shards: Path) -> None:
    clips = read_clip_list(shards)
    for n_interleaved in (1, 2):
        stream = open_feed(shards, n_interleaved=n_interleaved, pool_size=4)
        for number in range(stream.n_pools):
            used = {clips[index].path.split("/")[0] for index in stream.pool(number).indices}
            assert (
                len(used) <= 2 * n_interleaved
            )  # a pool may begin in one turn and end in the next


def test_more_readers_than_clips_are_refused(shards: Path) -> None:
    with pytest.raises(UsageError, match="30 clips are too few for 31 readers"):
        open_feed(shards, Part(0, 31))


def damaged(data: Path, folder: Path, n_damaged: int) -> Path:
    workshop.make_data(folder, n_per_fold=1)
    for clip in read_clip_list(folder)[:n_damaged]:
        (folder / clip.path).write_bytes(b"no audio")
    return folder


def test_an_unreadable_clip_is_left_out_with_a_warning(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream = open_feed(damaged(data, tmp_path, 1), pool_size=10)
    with caplog.at_level(logging.WARNING):
        heard = list(stream.epoch(0))
    assert sorted(clip.clip_index for clip in heard) == list(range(1, 30))
    assert [clip.position for clip in heard] != list(range(29))
    assert "1 of 10 clips" in caplog.text
    assert read_clip_list(tmp_path)[0].path in caplog.text
    assert sum(stream.pool(number).n_unreadable for number in range(stream.n_pools)) == 1


def test_many_unreadable_clips_stop_the_stream(data: Path, tmp_path: Path) -> None:
    stream = open_feed(damaged(data, tmp_path, 3), pool_size=30)
    with pytest.raises(SourceError, match=r"3 of 30 clips: .*check --decode"):
        stream.pool(0)


MIXING = MixtureConfig(duration_s=0.5), RATE_HZ, 8_000


def weights_of(n: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(0.5, 2.0, n)


def test_one_pool_of_all_clips_mixes_what_a_store_does(shards: Path, tmp_path: Path) -> None:
    clips = read_clip_list(shards)
    indices = [index for index, clip in enumerate(clips) if clip.fold != 5]
    stream = ClipFeed(shards, clips, indices, RATE_HZ, 0, FeedConfig(pool_size=100))
    mixer = FeedMixer(stream, *MIXING, weights_of(24), mixtures_per_pool=8)
    pool = stream.pool(0)
    assert sorted(pool.indices) == indices
    store = ClipStore.open(shards, clips, RATE_HZ, tmp_path)
    weights = dict(zip(indices, weights_of(24), strict=True))
    odds = np.array([weights[index] for index in pool.indices])
    expected = Mixer(store, pool.indices.tolist(), *MIXING, odds)
    for index in range(8):
        one, other = mixer.draw((3, index)), expected.draw((3, index))
        assert one.sources == other.sources
        np.testing.assert_array_equal(one.samples, other.samples)


def test_mixtures_come_from_their_own_pool_in_whatever_order(shards: Path) -> None:
    def open_mixer() -> FeedMixer:
        return FeedMixer(open_feed(shards), *MIXING, weights_of(30), mixtures_per_pool=6)

    stream, mixer = open_feed(shards), open_mixer()
    n_mixtures = 6 * 2 * stream.n_pools
    drawn = [mixer.draw((1, index)) for index in range(n_mixtures)]
    pools = [set(stream.pool(number).indices.tolist()) for number in range(n_mixtures // 6)]
    assert all(set(mixture.sources) <= pools[i // 6] for i, mixture in enumerate(drawn))
    heard = {source for mixture in drawn for source in mixture.sources}
    assert len(heard) > 25
    later = open_mixer()
    for index in (n_mixtures - 1, 7, 0, 8):
        np.testing.assert_array_equal(later.draw((1, index)).samples, drawn[index].samples)


def test_clips_of_no_weight_are_never_mixed(shards: Path) -> None:
    weights = weights_of(30)
    weights[::2] = 0.0
    mixer = FeedMixer(open_feed(shards, pool_size=15), *MIXING, weights, mixtures_per_pool=20)
    heard = {source for index in range(40) for source in mixer.draw((0, index)).sources}
    assert heard
    assert all(source % 2 for source in heard)


def test_split_of_a_sharded_manifest_streams_training_clips_alone(shards: Path) -> None:
    clips = read_clip_list(shards)
    train, held_out = Split(tiers=("A",), held_out_folds=(5,)).divide(clips)
    indices = [index for index, clip in enumerate(clips) if clip in train]
    stream = ClipFeed(shards, clips, indices, RATE_HZ, 0, FeedConfig())
    assert {clip.clip_index for clip in stream.epoch(0)} == set(indices)
    assert len(indices) + len(held_out) == 30
