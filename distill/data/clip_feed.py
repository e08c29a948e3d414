"""Clips fed to training pool by pool, for data that is too large to decode as a whole.

An epoch is a shuffled sequence of all clips, cut into pools. A pool is read whole, so memory is
bounded by its size, and its clips come from a few shards, each of which is read front to back.
Everything follows from (seed, epoch, pool): any process can make any pool, in any order, and a
feed goes on at any position without reading what lies before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.data.audio import from_pcm, read_pcm
from distill.data.clip_list import Clip, first_few
from distill.data.tars import container_of
from edge_audio.bundle.spec import Spec
from edge_audio.errors import SourceError, UsageError

Indices = NDArray[np.int64]
_log = logging.getLogger(__name__)


class FeedConfig(Spec, frozen=True):
    """pool_size: clips in memory at once, 320 kB each for 10 s at 16 kHz.
    n_interleaved: how many shards are read in turn, a clip from each."""

    pool_size: int = 256
    n_interleaved: int = 8

    def __post_init__(self) -> None:
        if self.pool_size < 1 or self.n_interleaved < 1:
            raise ValueError("pool_size and n_interleaved must be at least 1")


class Part(NamedTuple):
    """The share of one of `n_parts` readers: worker w of n on rank r reads part r * n + w."""

    number: int = 0
    n_parts: int = 1


WHOLE = Part()


class ClipPool:
    """Some decoded clips, by their position in the clip list; a `clip_store.ClipSource`.

    indices: which clips those are, shuffled. n_unreadable: how many others were left out.
    """

    def __init__(self, pcm: dict[int, NDArray[np.int16]], n_unreadable: int) -> None:
        self._pcm, self.n_unreadable = pcm, n_unreadable
        self.indices: Indices = np.array(list(pcm), np.int64)

    def __len__(self) -> int:
        return len(self._pcm)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Clip `index` of the clip list as f32[n] in [-1, 1]; KeyError if another pool has it."""
        return from_pcm(self._pcm[index])


class FedClip(NamedTuple):
    """position: where in its epoch the clip comes; clip_index: where in the clip list."""

    position: int
    clip_index: int
    samples: NDArray[np.float32]


class ClipFeed:
    """An endless sequence of pools of the clips `indices` of a clip list."""

    def __init__(
        self,
        folder: Path,
        clips: Sequence[Clip],
        indices: Sequence[int],
        sample_rate_hz: int,
        seed: int,
        config: FeedConfig,
        part: Part = WHOLE,
    ) -> None:
        """Readers with the same arguments but `part` share every epoch: each clip is in exactly
        one part, and parts differ by at most one clip. Raises UsageError for an empty part."""
        self._folder, self._clips, self._rate_hz = folder, clips, sample_rate_hz
        self._seed, self._n_interleaved = seed, config.n_interleaved
        self.indices: Indices = np.asarray(indices, np.int64)
        self._shards, self._offsets = _places([clips[index].path for index in indices])
        self._bounds = [len(indices) * (part.number + i) // part.n_parts for i in (0, 1)]
        if len(self) == 0:
            raise UsageError(f"{len(indices)} clips are too few for {part.n_parts} readers")
        self.n_pools = -(-len(self) // config.pool_size)
        self._last_order: tuple[int, Indices] | None = None

    def __len__(self) -> int:
        """Clips of this part in an epoch."""
        return self._bounds[1] - self._bounds[0]

    def pool(self, number: int) -> ClipPool:
        """Pool `number` of the endless sequence; an epoch has `n_pools`.

        Clips that cannot be decoded are left out with a warning; SourceError if there are more
        than one and a twentieth of the pool.
        """
        indices = self._pool_indices(number)
        readable: dict[int, NDArray[np.int16]] = {}
        unreadable: list[str] = []
        for index in np.sort(indices):  # in the order of the shards
            try:
                path = self._folder / self._clips[index].path
                readable[int(index)] = read_pcm(path, self._rate_hz)
            except SourceError as error:
                unreadable.append(str(error))
        if unreadable:
            self._report(number, unreadable, len(indices))
        shuffled = {int(index): readable[index] for index in indices if index in readable}
        return ClipPool(shuffled, len(unreadable))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[FedClip]:
        """The clips of one epoch from position `start` on. A clip that cannot be decoded leaves
        its position out."""
        position = 0
        for number in range(epoch * self.n_pools, (epoch + 1) * self.n_pools):
            indices = self._pool_indices(number)
            positions = range(position, position + len(indices))
            position = positions.stop
            if positions.stop <= start:
                continue
            pool = self.pool(number)
            held = set(pool.indices.tolist())
            for at, index in zip(positions, indices.tolist(), strict=True):
                if at >= start and index in held:
                    yield FedClip(at, index, pool[index])

    def _pool_indices(self, number: int) -> Indices:
        epoch, number = divmod(number, self.n_pools)
        first, stop = self._bounds
        mine = self._order(epoch)[first:stop]
        pool = mine[len(mine) * number // self.n_pools : len(mine) * (number + 1) // self.n_pools]
        rng = np.random.default_rng((self._seed, epoch, first, number))
        drawn: Indices = self.indices[rng.permutation(pool)]
        return drawn

    def _order(self, epoch: int) -> Indices:
        """The epoch's order, before it is cut into parts and pools: shards are shuffled and
        taken `n_interleaved` at a time, of which each gives a clip in turn."""
        if self._last_order is None or self._last_order[0] != epoch:
            rng = np.random.default_rng((self._seed, epoch))
            turns = rng.permutation(self._shards.max() + 1)[self._shards]
            order = np.lexsort((turns, self._offsets, turns // self._n_interleaved))
            self._last_order = epoch, order
        return self._last_order[1]

    def _report(self, number: int, unreadable: list[str], n: int) -> None:
        summary = f"pool {number}: {len(unreadable)} of {n} clips: {first_few(unreadable)}"
        if len(unreadable) == n or len(unreadable) > 1 + n // 20:
            raise SourceError(f"{summary}; edge-audio dataset check --decode lists them all")
        _log.warning("left out of %s", summary)


def _places(paths: Sequence[str]) -> tuple[Indices, Indices]:
    """(shard, place in it) of each path, numbered in the order given."""
    numbers: dict[str, int] = {}
    sizes: list[int] = []
    places = np.empty((2, len(paths)), np.int64)
    for row, path in enumerate(paths):
        shard = numbers.setdefault(container_of(path), len(numbers))
        if shard == len(sizes):
            sizes.append(0)
        places[:, row] = shard, sizes[shard]
        sizes[shard] += 1
    return places[0], places[1]
