"""What every destination of events and scores has in common.

A *destination* is what several streams share (a broker, an endpoint, a file, a folder); it is
opened once, and opens a *sink* for each stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edge_audio.events.detector import Event
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray


class Sink:
    """Receives what a stream brings forth, in the order of audio time: for every block first its
    audio, then for every step its events, then its scores.

    A sink overrides what it cares about. All methods are called from the listening thread and
    return at once, whatever the destination does: what may wait goes through a `Worker`.
    """

    def on_watch(self, labels: Sequence[str]) -> None:
        """These labels can become events from now on: at the start, and when settings change."""

    def on_audio(self, block: Block) -> None:
        """The next block, before anything that is found in it."""

    def on_event(self, event: Event) -> None:
        """A sound began or ended."""

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        """f32[n_labels], probabilities, of the step that ends at time_s."""

    def on_notice(self, text: str) -> None:
        """One line on the stream itself: a device lost or back, audio dropped."""

    def close(self) -> None:
        """The stream has ended."""


class Destination(Protocol):
    """A destination shared by streams.

    name: what a user calls it in messages, such as "mqtt" or "webhook https://...".
    problem: one line on what is wrong at the moment, for people; "" if nothing is.
    """

    name: str

    @property
    def problem(self) -> str: ...

    def open(self, stream: Stream) -> Sink:
        """A sink for one stream; called once for each, from the listening thread."""

    def close(self) -> None:
        """Delivers what can be delivered within a few seconds, keeps or counts the rest, and
        gives everything back."""


class TopLabels:
    """Picks the highest scores among the labels somebody wants to hear about."""

    def __init__(
        self, labels: Sequence[str], n_top: int, wanted: frozenset[str] | None = None
    ) -> None:
        """wanted: labels to choose from; None = all. `labels` has those that are left."""
        indices = [i for i, label in enumerate(labels) if wanted is None or label in wanted]
        self.n_top = n_top
        self.labels = [labels[i] for i in indices]
        self._indices = np.array(indices, np.intp)

    def __call__(self, scores: FloatArray) -> list[tuple[str, float]]:
        """f32[n_labels] -> up to n_top (label, score), highest first."""
        candidates = scores[self._indices]
        best = np.argsort(-candidates, kind="stable")[: self.n_top]
        return [(self.labels[i], float(candidates[i])) for i in best]


def scored(label: str, score: float) -> dict[str, object]:
    """The JSON form of a label with its score."""
    return {"label": label, "score": round(score, 4)}
