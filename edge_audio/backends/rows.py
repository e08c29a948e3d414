"""Backends whose model has more labels than its file, by rows on the embedding, or fewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import Backend, State
from edge_audio.backends.fingerprint import fingerprint, is_same_network
from edge_audio.bundle.rows import HeadRows, with_n_scores
from edge_audio.errors import BundleError
from edge_audio.features.frontend import Transform


def check_network(backend: Backend, rows: HeadRows) -> None:
    """Raises BundleError if the rows were made for another network than this backend runs."""
    if not is_same_network(fingerprint(backend), rows.fingerprint):
        raise BundleError(
            "the sounds were learned with another model: name that one with --model, or learn them "
            "again with this"
        )


class OtherLabels:
    """A backend with so many other labels than the one that it asks."""

    def __init__(self, backend: Backend, n_labels: int) -> None:
        self.name, self._backend = backend.name, backend
        self.spec = with_n_scores(backend.spec, n_labels)

    @property
    def log_mel(self) -> Transform | None:
        return self._backend.log_mel

    def initial_state(self) -> State:
        return self._backend.initial_state()


class RowsBackend(OtherLabels):
    """Any backend that gives an embedding, and the scores of more labels behind its own."""

    def __init__(self, backend: Backend, rows: HeadRows) -> None:
        """Raises BundleError for rows of another network, and where there is no embedding."""
        check_network(backend, rows)
        super().__init__(backend, backend.spec.scores.shape[1] + len(rows.labels))
        self._rows = rows

    def step(self, frames: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        scores, _, state = self.embed(frames, state)
        return scores, state

    def embed(
        self, frames: NDArray[np.float32], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        scores, embedding, state = self._backend.embed(frames, state)
        return np.concatenate([scores, self._rows.scores(embedding)]), embedding, state


class SomeLabelsBackend(OtherLabels):
    """Any backend, of whose scores only some are kept."""

    def __init__(self, backend: Backend, kept: Sequence[int]) -> None:
        """kept: which of its scores."""
        super().__init__(backend, len(kept))
        self._kept = np.array(kept, np.intp)

    def step(self, frames: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        scores, state = self._backend.step(frames, state)
        return scores[self._kept], state

    def embed(
        self, frames: NDArray[np.float32], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], State]:
        scores, embedding, state = self._backend.embed(frames, state)
        return scores[self._kept], embedding, state
