"""One stream through a backend: samples in, scores of the steps that they complete out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import Backend, step_blocks
from edge_audio.bundle.spec import ModelSpec
from edge_audio.events.detector import OpenWatch, Watch, Watched, watch_in_numpy
from edge_audio.features.frontend import open_frontend


class ScoreStream(Protocol):
    """Front end and network of one stream, for one thread.

    A NaN, which a broken model or runtime may give, does not stick: it counts as 0, and the state,
    which may hold it for ever, is that of a new stream.
    """

    def push(self, samples: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
        """f32[n] of whole steps, the first of a stream with the overlap before them -> scores
        f32[n_labels] of each step, which belong to the caller. Iterate to the end."""
        ...

    def embed(
        self, samples: NDArray[np.float32]
    ) -> Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The same with the embedding f32[embedding_dim] of each step, see `Backend.embed`."""
        ...

    def forget_samples(self) -> None:
        """The next samples come with an overlap before them, as at the start; the state stays."""
        ...

    def reset(self) -> None:
        """Starts a new stream."""
        ...


@runtime_checkable
class BlockBackend(Protocol):
    """A backend that takes whole blocks in one call, and follows labels as quickly."""

    def open_stream(self) -> ScoreStream:
        """At the start of a stream."""
        ...

    def open_watch(self, labels: Watched) -> Watch:
        """See `watch_in_numpy`."""
        ...


class SteppedStream:
    """A `ScoreStream` of any backend, by front end and steps."""

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        self._backend, self._spec = backend, spec
        self._frontend = open_frontend(spec, backend.log_mel)
        self._state = backend.initial_state()

    def push(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        for frames in self._frames(samples):
            scores, self._state = self._backend.step(frames, self._state)
            yield self._without_nan(scores)

    def embed(
        self, samples: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        for frames in self._frames(samples):
            scores, embedding, self._state = self._backend.embed(frames, self._state)
            yield self._without_nan(scores), np.nan_to_num(embedding, nan=0.0)

    def _frames(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """What the steps take, one after the other."""
        return step_blocks(self._spec, self._frontend.push(samples))

    def _without_nan(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        if np.isnan(scores).any():
            self._state = self._backend.initial_state()
            return np.nan_to_num(scores, nan=0.0)
        return scores

    def forget_samples(self) -> None:
        self._frontend.reset()

    def reset(self) -> None:
        self._frontend.reset()
        self._state = self._backend.initial_state()


def open_stream(backend: Backend, spec: ModelSpec) -> ScoreStream:
    """A new stream, by the quickest way that the backend has."""
    if isinstance(backend, BlockBackend):
        return backend.open_stream()
    return SteppedStream(backend, spec)


def open_watch_of(backend: Backend) -> OpenWatch:
    """How labels are followed beside this backend."""
    return backend.open_watch if isinstance(backend, BlockBackend) else watch_in_numpy
