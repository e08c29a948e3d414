"""How cost grows with the work: streams, labels, the size of a push, hours."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np

from edge_audio.backends import open_backend
from edge_audio.bench.candidates import BundleCandidate
from edge_audio.bench.machine import resident_mb
from edge_audio.bundle.spec import Spec
from edge_audio.events.choice import select_events
from edge_audio.sources.demo import DemoScene
from edge_audio.support.arrays import FloatArray
from edge_audio.tagging.batch_tagger import BatchTagger
from edge_audio.tagging.tagger import Tagger

BLOCK_MS = 80.0
SCENE_S = 32.0
N_STREAMS = (1, 4, 16, 64, 256, 1024)
_MIN_TURNS = 8
BATCH = 64  # streams whose blocks are pushed at once in real time
N_LABELS = (10, 20, 50, 100, 200, 350, 527)
PUSH_MS = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0)
HOURS_S = (60.0, 600.0, 3600.0, 10800.0)

Kind = Literal["streams", "labels", "push", "hours"]
KINDS: tuple[Kind, ...] = get_args(Kind)

LATE_MS, LATE_SHARE = 250.0, 0.01
"""One core keeps up as long as no more than this share of the blocks waits longer than this for an
answer: short stalls, which buffers bridge, are no overload."""


class Point(Spec, frozen=True):
    """One amount of work. x: streams, labels, ms of audio per push, or seconds of audio.

    ms_per_s: CPU ms of the whole process per second of audio of one stream; for hours since the
        point before. rss_mb: resident memory then.
    """

    x: float
    ms_per_s: float
    rss_mb: float


class Curve(Spec, frozen=True, tag="curve"):
    """Cost against a number of streams or of labels, in rising order."""

    points: tuple[Point, ...]


class Capacity(Spec, frozen=True, tag="capacity"):
    """How one thread kept up with streams in real time.

    late_share: of the blocks, those that waited longer than LATE_MS. cpu_share: CPU
        seconds per second. p50_ms, p99_ms: from the end of a block to its answer.
    """

    n_streams: int
    seconds: float
    late_share: float
    cpu_share: float
    p50_ms: float
    p99_ms: float
    rss_mb: float

    @property
    def is_kept_up(self) -> bool:
        """Whether nearly all answers came in time."""
        return self.late_share <= LATE_SHARE


class CurveJob(Spec, frozen=True, tag="curve"):
    """seconds: audio for each point, over all streams; hours go up to 90 times as much."""

    candidate: BundleCandidate
    kind: Kind
    seconds: float

    def run(self, heard_first: Callable[[], None]) -> Curve:
        crowd = Crowd(self.candidate)
        measure = {
            "streams": crowd.by_streams,
            "labels": crowd.by_labels,
            "push": crowd.by_push,
            "hours": crowd.by_hours,
        }[self.kind]
        return Curve(points=tuple(measure(self.seconds)))


class CapacityJob(Spec, frozen=True, tag="capacity"):
    """Streams in real time for so many seconds, or until too many blocks were late."""

    candidate: BundleCandidate
    n_streams: int
    seconds: float

    def run(self, heard_first: Callable[[], None]) -> Capacity:
        return Crowd(self.candidate).keep_up(self.n_streams, self.seconds)


class Crowd:
    """Streams that share one loaded model and hear the same scene, each from another place."""

    def __init__(self, candidate: BundleCandidate) -> None:
        self._bundle = candidate.bundle()
        self._backend = open_backend(self._bundle, candidate.backend)
        self._rate_hz = self._bundle.manifest.model.frontend.sample_rate_hz
        self._scene = DemoScene(self._rate_hz).first(SCENE_S)

    def by_streams(self, seconds: float) -> Iterator[Point]:
        """Cost against the number of streams, which get a block each at once."""
        blocks = np.array(self._cut(BLOCK_MS))
        for n_streams in N_STREAMS:
            batch = BatchTagger(self._bundle, self._backend, n_streams)
            _push_batch(batch, blocks, 0)
            n_turns = max(_MIN_TURNS, math.ceil(seconds * 1e3 / BLOCK_MS / n_streams))
            start_s = time.process_time()
            for turn in range(n_turns):
                _push_batch(batch, blocks, turn)
            cpu_s = time.process_time() - start_s
            ms_per_s = 1e6 * cpu_s / (n_turns * n_streams * BLOCK_MS)
            yield Point(x=n_streams, ms_per_s=ms_per_s, rss_mb=resident_mb())

    def by_labels(self, seconds: float) -> Iterator[Point]:
        """Cost against the number of watched labels, in one stream."""
        labels = self._bundle.manifest.labels
        for n_labels in sorted({min(n, len(labels)) for n in N_LABELS}):
            spec = self._bundle.manifest.events
            events = select_events(spec, labels, only=labels[:n_labels], threshold=0.5)
            tagger, blocks = Tagger(self._bundle, self._backend, events), self._cut(BLOCK_MS)
            _hear(tagger, blocks, 2)
            yield _point(n_labels, tagger, blocks, BLOCK_MS, seconds)

    def by_push(self, seconds: float) -> Iterator[Point]:
        """Cost against the amount of audio per push, in one stream."""
        for push_ms in PUSH_MS:
            tagger, blocks = Tagger(self._bundle, self._backend), self._cut(push_ms)
            _hear(tagger, blocks, 2)
            yield _point(push_ms, tagger, blocks, push_ms, seconds)

    def by_hours(self, seconds: float) -> Iterator[Point]:
        """Cost against the length of one stream, pushed second by second."""
        tagger, blocks, heard_s = Tagger(self._bundle, self._backend), self._cut(1e3), 0.0
        _hear(tagger, blocks, 2)
        for end_s in (x for x in HOURS_S if x <= max(HOURS_S[0], 90.0 * seconds)):
            yield _point(end_s, tagger, blocks, 1e3, end_s - heard_s)
            heard_s = end_s

    def keep_up(self, n_streams: int, seconds: float) -> Capacity:
        """Streams in real time, in batches whose blocks are spread evenly over the block length;
        given up as soon as too many answers were late."""
        batches, blocks = self._batches(n_streams), np.array(self._cut(BLOCK_MS))
        n_blocks, n_late = round(seconds * 1e3 / BLOCK_MS) * len(batches), 0
        waits_s: list[float] = []
        start_s, cpu_start_s = time.monotonic(), time.process_time()
        while len(waits_s) < n_blocks and n_late <= LATE_SHARE * n_blocks:
            turn, place = divmod(len(waits_s), len(batches))
            due_s = start_s + len(waits_s) * BLOCK_MS / 1e3 / len(batches)
            if (early_s := due_s - time.monotonic()) > 0.0:
                time.sleep(early_s)
            _push_batch(batches[place], blocks, turn)
            waits_s.append(time.monotonic() - due_s)
            n_late += waits_s[-1] > LATE_MS / 1e3
        cpu_s, wall_s = time.process_time() - cpu_start_s, time.monotonic() - start_s
        p50_ms, p99_ms = (1e3 * np.percentile(waits_s, (50, 99))).tolist()
        return Capacity(
            n_streams=n_streams,
            seconds=wall_s,
            late_share=n_late / n_blocks,
            cpu_share=cpu_s / wall_s,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            rss_mb=resident_mb(),
        )

    def _batches(self, n_streams: int) -> list[BatchTagger]:
        """Of BATCH streams each, the last one of the rest; all have been pushed to."""
        sizes = [min(BATCH, n_streams - i) for i in range(0, n_streams, BATCH)]
        batches = [BatchTagger(self._bundle, self._backend, size) for size in sizes]
        for batch in batches:
            _push_batch(batch, np.array(self._cut(BLOCK_MS)), 0)
        return batches

    def _cut(self, block_ms: float) -> list[FloatArray]:
        n_block = round(block_ms * self._rate_hz / 1e3)
        return list(self._scene[: len(self._scene) // n_block * n_block].reshape(-1, n_block))


def _push_batch(batch: BatchTagger, blocks: FloatArray, turn: int) -> None:
    """Of the scene, each stream from another place."""
    batch.push(blocks[(turn + np.arange(batch.n_streams)) % len(blocks)])


def _hear(tagger: Tagger, blocks: list[FloatArray], n_blocks: int) -> None:
    for number in range(n_blocks):
        tagger.push(blocks[number % len(blocks)])


def _point(
    x: float, tagger: Tagger, blocks: list[FloatArray], block_ms: float, seconds: float
) -> Point:
    """The cost of so much audio."""
    n_blocks = math.ceil(seconds * 1e3 / block_ms)
    start_s = time.process_time()
    _hear(tagger, blocks, n_blocks)
    cpu_s = time.process_time() - start_s
    return Point(x=x, ms_per_s=1e6 * cpu_s / (n_blocks * block_ms), rss_mb=resident_mb())
