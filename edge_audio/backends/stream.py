"""Streams through a backend: samples in, scores of the steps that they complete out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import Backend, step_blocks
from edge_audio.bundle.spec import ModelSpec
from edge_audio.events.detector import OpenWatch, Watch, Watched, watch_in_numpy
from edge_audio.features.frontend import BLOCK_FRAMES, open_frontend

_NOTHING = np.zeros(0, np.float32)


class ScoreStream(Protocol):
    """Front end and network of one stream, for one thread.

    A NaN, which a broken model or runtime may give, does not stick: it counts as 0, and the state,
    which may hold it for ever, is that of a new stream.

    max_steps: how many are best pushed at once.
    """

    max_steps: int

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """f32[n >= 0], of which the first of a stream fill the overlap -> scores
        f32[n_steps, n_labels] of the steps that they complete, which belong to the caller."""
        ...

    def follow(self, samples: NDArray[np.float32], watch: Watch) -> tuple[NDArray[np.float32], int]:
        """The same, and what the watch says of these steps."""
        ...

    def embed(
        self, samples: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same with embeddings f32[n_steps, embedding_dim], see `Backend.embed`."""
        ...

    def forget_samples(self) -> None:
        """The next samples come with an overlap before them, as at the start; the state stays."""
        ...

    def reset(self) -> None:
        """Starts a new stream."""
        ...


class ScoredBatch(NamedTuple):
    """Steps of n streams.

    scores: f32[n, n_most_steps, n_labels]. n_steps: [n] of each stream, the first of those.
    n_watched: [n], after how many of them a label was first beyond its limit; 0 of streams that are
        not watched.
    """

    scores: NDArray[np.float32]
    n_steps: NDArray[np.uint32]
    n_watched: NDArray[np.uint32]


class ScoreBatch(Protocol):
    """Front end and network of many streams, for one thread. NaN: see `ScoreStream`."""

    def push(self, streams: NDArray[np.intp], samples: NDArray[np.float32]) -> ScoredBatch:
        """A block of each of these streams, no two of them the same, samples f32[n, n_samples]."""
        ...

    def watch(self, stream: int, watch: Watch | None) -> None:
        """From now on a stream's steps go to this watch too, up to the first that it stops at."""
        ...

    def reset(self, stream: int) -> None:
        """Starts a new stream in its place; what watches it stays."""
        ...


@runtime_checkable
class BlockBackend(Protocol):
    """A backend that takes whole blocks in one call, and follows labels as quickly."""

    def open_batch(self, n_streams: int) -> ScoreBatch:
        """At the start of so many streams."""
        ...

    def open_stream(self) -> ScoreStream:
        """At the start of a stream."""
        ...

    def open_watch(self, labels: Watched) -> Watch:
        """See `watch_in_numpy`."""
        ...


class SteppedStream:
    """A `ScoreStream` of any backend, by front end and steps."""

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        self._step_samples, self._overlap_samples = spec.step_samples, spec.overlap_samples
        self._backend, self._spec = backend, spec
        self._frontend = open_frontend(spec, backend.log_mel)
        self._waiting, self._n_missing = _NOTHING, self._overlap_samples
        self._state = backend.initial_state()
        self.max_steps = max(1, BLOCK_FRAMES // spec.frames_per_step)
        self._n_labels = spec.scores.shape[1]

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        found = []
        for frames in self._frames(samples):
            scores, self._state = self._backend.step(frames, self._state)
            found.append(self._without_nan(scores))
        return _rows(found, self._n_labels)

    def follow(self, samples: NDArray[np.float32], watch: Watch) -> tuple[NDArray[np.float32], int]:
        scores = self.push(samples)
        return scores, watch(scores)

    def embed(
        self, samples: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        found, embeddings = [], []
        for frames in self._frames(samples):
            scores, embedding, self._state = self._backend.embed(frames, self._state)
            found.append(self._without_nan(scores))
            embeddings.append(np.nan_to_num(embedding, nan=0.0))
        embedding_dim = self._backend.spec.embedding_dim
        return _rows(found, self._n_labels), _rows(embeddings, embedding_dim)

    def _frames(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """What the steps take, one after the other. The front end gets whole steps only, so that
        every one is computed by calls of the same shapes."""
        samples = np.concatenate([self._waiting, samples])
        n_beyond = len(samples) - self._n_missing - self._step_samples
        n_ready = len(samples) - n_beyond % self._step_samples if n_beyond >= 0 else 0
        self._waiting = samples[n_ready:]
        if n_ready:
            self._n_missing = 0
        return step_blocks(self._spec, self._frontend.push(samples[:n_ready]))

    def _without_nan(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if np.isnan(scores).any():
            self._state = self._backend.initial_state()
            return np.nan_to_num(scores, nan=0.0)
        return scores

    def forget_samples(self) -> None:
        self._frontend.reset()
        self._waiting, self._n_missing = _NOTHING, self._overlap_samples

    def reset(self) -> None:
        self.forget_samples()
        self._state = self._backend.initial_state()


class StreamBatch:
    """A `ScoreBatch` of streams that are pushed one after the other, on any backend."""

    def __init__(self, backend: Backend, spec: ModelSpec, n_streams: int) -> None:
        self._streams = [open_stream(backend, spec) for _ in range(n_streams)]
        self._n_labels = spec.scores.shape[1]
        self._watches: list[Watch | None] = [None] * n_streams

    def push(self, streams: NDArray[np.intp], samples: NDArray[np.float32]) -> ScoredBatch:
        found = [self._streams[k].push(row) for k, row in zip(streams, samples, strict=True)]
        n_steps = np.array([len(one) for one in found], np.uint32)
        n_watched = np.zeros(len(found), np.uint32)
        scores = np.zeros((len(found), n_steps.max(initial=0), self._n_labels), np.float32)
        for i, (stream, one) in enumerate(zip(streams.tolist(), found, strict=True)):
            scores[i, : len(one)] = one
            if watch := self._watches[stream]:
                n_watched[i] = watch(one)
        return ScoredBatch(scores, n_steps, n_watched)

    def watch(self, stream: int, watch: Watch | None) -> None:
        self._watches[stream] = watch

    def reset(self, stream: int) -> None:
        self._streams[stream].reset()


def _rows(found: list[NDArray[np.float32]], n_columns: int) -> NDArray[np.float32]:
    return np.array(found, np.float32).reshape(-1, n_columns)


def open_stream(backend: Backend, spec: ModelSpec) -> ScoreStream:
    """A new stream, by the quickest way that the backend has."""
    if isinstance(backend, BlockBackend):
        return backend.open_stream()
    return SteppedStream(backend, spec)


def open_batch(backend: Backend, spec: ModelSpec, n_streams: int) -> ScoreBatch:
    """So many new streams, by the quickest way that the backend has."""
    if isinstance(backend, BlockBackend):
        return backend.open_batch(n_streams)
    return StreamBatch(backend, spec, n_streams)


def open_watch_of(backend: Backend) -> OpenWatch:
    """How labels are followed beside this backend."""
    return backend.open_watch if isinstance(backend, BlockBackend) else watch_in_numpy
