"""What every destination of events and scores has in common.

A *destination* is what several streams share (a broker, an endpoint, a file, a folder); it is
opened once, and opens a *sink* for each stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from edge_audio.bundle.spec import Sensitivity, Spec
from edge_audio.events.detector import Event
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray

MAX_TOP = 10_000  # more highest scores than any model has labels

ConfigT = TypeVar("ConfigT", bound=Spec)


class LabelChange(NamedTuple):
    """What somebody wants of one label; None = as it is. threshold: its `on`. is_normal: the
    model's own threshold holds again."""

    label: str
    threshold: float | None = None
    is_on: bool | None = None
    is_normal: bool = False


class NotifyChange(NamedTuple):
    """What somebody wants of notifications; None = as it is. is_told, is_urgent: of `label`.
    quiet_hours: all of them."""

    label: str = ""
    is_told: bool | None = None
    is_urgent: bool | None = None
    quiet_hours: tuple[str, ...] | None = None


class SoundsChange(NamedTuple):
    """The file of sounds that were taught, from the next start on."""

    path: str


Change = LabelChange | NotifyChange | SoundsChange


class Wish(NamedTuple):
    """What somebody wants of a run that is listening; None = as it is. is_paused: events are not
    reported. change: where there is a file of settings, it says so already. answer: is told when
    the wish is fulfilled, with "", or what is in its way.
    """

    sensitivity: Sensitivity | None = None
    is_paused: bool | None = None
    change: LabelChange | NotifyChange | None = None
    answer: Callable[[str], None] | None = None


class Sink:
    """Receives what a stream brings forth, in the order of audio time: for every block first its
    audio, then for every step its events, then its scores.

    A sink overrides what it cares about. All methods are called from the listening thread and
    return at once, whatever the destination does: what may wait goes through a `Worker`.
    """

    def on_watch(self, labels: Sequence[str]) -> None:
        """These labels can become events from now on: at the start, and when settings change.
        Which of them sound at this moment is in `Stream.sounding`."""

    def on_audio(self, block: Block) -> None:
        """The next block, before anything that is found in it."""

    def on_event(self, event: Event) -> None:
        """A sound began or ended."""

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        """f32[n_labels], probabilities, of the step that ends at time_s."""

    def on_notice(self, text: str) -> None:
        """One line on the stream itself: a device lost or back, audio lost."""

    def close(self) -> None:
        """The stream has ended, or goes elsewhere from now on."""


class Destination(Generic[ConfigT]):
    """A destination shared by streams. Constructors take the settings, claim what they need (a
    file, a folder, a port) and raise UsageError where they cannot have it."""

    @staticmethod
    def check(config: ConfigT, labels: Sequence[str]) -> None:
        """Looks for what a run by these settings would lack: files, folders, secrets, libraries,
        hosts, and labels, of which the model has these, where it is known. Changes nothing, takes
        nothing that a run which is going on has, and may wait for a network. Raises UsageError."""

    @property
    def name(self) -> str:
        """What a user calls it in messages, such as "webhook example.org"."""
        raise NotImplementedError

    @property
    def problem(self) -> str:
        """One line on what is wrong at the moment, for people; "" if nothing is."""
        return ""

    @property
    def n_lost(self) -> int:
        """Records, events or clips that did not arrive and never will."""
        return 0

    def open(self, stream: Stream) -> Sink:
        """A sink for one stream; called once for each, from the listening thread."""
        raise NotImplementedError

    def start(self) -> None:
        """Begins with what others can see, after its predecessor has been closed."""

    def reconfigure(self, config: ConfigT, undo: ExitStack) -> Callable[[], None] | None:
        """What makes this destination and its sinks go on by other settings, without losing what
        waits; it raises nothing. None where the settings speak of another place, for which a new
        destination can be opened beside this one. Until the result is called nothing changes;
        `undo` gives back what was claimed, where it will not be. Raises UsageError."""
        raise NotImplementedError

    def refresh(self, undo: ExitStack) -> Callable[[], None] | None:
        """As `reconfigure`, where settings were read again and are what they were: what may have
        changed outside of them. None where that is nothing. Raises UsageError."""
        return None

    def on_run(self, sensitivity: Sensitivity, is_paused: bool) -> None:
        """How the run listens from now on: at the start, and when that changes."""

    def take_wishes(self) -> list[Wish]:
        """What came from there since the last call. Returns at once."""
        return []

    def take_remarks(self) -> list[str]:
        """Lines for people on what happened there since the last call, such as refused log-ins.
        Returns at once."""
        return []

    def discard(self) -> None:
        """Closes what was opened in vain: nothing was told to it, and nothing new stays."""
        self.close()

    def close(self) -> None:
        """Delivers what can be delivered within a few seconds, keeps or counts the rest, and
        gives everything back. May be called without `start`, and from any thread."""


class TopLabels:
    """Picks the highest scores among the wanted labels."""

    def __init__(
        self, labels: Sequence[str], n_top: int, wanted: frozenset[str] | None = None
    ) -> None:
        """wanted: labels to choose from; None = all. `labels` has those that are left,
        `known` all."""
        self.n_top = n_top
        self.known = labels
        self.choose(wanted)

    def choose(self, wanted: frozenset[str] | None) -> None:
        """Chooses from other labels from now on."""
        indices = [i for i, label in enumerate(self.known) if wanted is None or label in wanted]
        self.labels = [self.known[i] for i in indices]
        self._indices = np.array(indices, np.intp)

    def __call__(self, scores: FloatArray) -> list[tuple[str, float]]:
        """f32[n_labels] -> up to n_top (label, score), highest first."""
        candidates = scores[self._indices]
        best = np.argsort(-candidates, kind="stable")[: self.n_top]
        return [(self.labels[i], float(candidates[i])) for i in best]


def scored(label: str, score: float) -> dict[str, object]:
    """The JSON form of a label with its score."""
    return {"label": label, "score": round(score, 4)}
