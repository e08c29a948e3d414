"""Many streams in, events out, by one call for a block of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend, open_backend
from edge_audio.backends.stream import open_batch, open_watch_of
from edge_audio.bundle.spec import EventSpec, Sensitivity
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event, EventDetector
from edge_audio.events.policy import EventPolicy, PolicySpec
from edge_audio.sinks.base import TopLabels
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.support.arrays import FloatArray, is_count
from edge_audio.tagging.samples import SampleInput, as_array
from edge_audio.tagging.scorer import ScoredSteps, StepGrid
from edge_audio.tagging.settings import ScoresOf, choose_events, with_scores_of
from edge_audio.tagging.step_reporter import StepReporter
from edge_audio.tagging.turns import Turns


class BatchTagger:
    """Listens to many streams that share a model and settings, from one thread at a time. Each has
    the scores and events of a `Tagger` of its own; what a step costs beside the network is paid
    once for all, on the C engine.

    n_streams: they have the numbers 0 to n_streams - 1.
    labels: names of the scores, in their order. sample_rate_hz: of the samples.
    scores: f32[n_streams, n_labels], after the latest step of each, zeros before the first.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        n_streams: int,
        events: EventSpec | None = None,
        policy: PolicySpec | None = None,
    ) -> None:
        """events, policy: as for `Tagger`. Raises UsageError for fewer streams than one."""
        if not is_count(n_streams):
            raise UsageError(f"n_streams is {n_streams!r}: give a whole number from 1 on")
        manifest = bundle.manifest
        model = manifest.model
        self.bundle, self.backend, self.n_streams = bundle, backend, n_streams
        self.labels, self.sample_rate_hz = manifest.labels, model.frontend.sample_rate_hz
        self.scores = np.zeros((n_streams, len(self.labels)), np.float32)
        self._grid = StepGrid.of(model)
        self._input = SampleInput(self.sample_rate_hz)
        self._batch = open_batch(backend, model, n_streams)
        self._n_samples, self._n_steps = np.zeros((2, n_streams), np.int64)
        self._has_ended = np.zeros(n_streams, bool)  # by flush
        spec = manifest.events if events is None else events
        self._reporters = [self._reporter(stream, spec, policy) for stream in range(n_streams)]
        self._turns = Turns(
            "tagger", "give each thread its own", "open another with BatchTagger.open"
        )
        self._every_stream = np.arange(n_streams)
        for stream in range(n_streams):
            self._begin(stream)

    @classmethod
    def open(
        cls,
        model: str | Path = "tiny-int8",
        n_streams: int = 1,
        backend: str = "auto",
        *,
        events: EventSpec | None = None,
        sensitivity: Sensitivity | None = None,
        policy: PolicySpec | None = None,
        only: Iterable[str] = (),
        exclude: Iterable[str] = (),
        threshold: float | Mapping[str, float] | None = None,
        sounds: str | Path | None = None,
        scores: ScoresOf = "all",
    ) -> BatchTagger:
        """Loads a model for so many streams; the other arguments are those of `Tagger.open`. Raises
        BundleError, BackendError or UsageError, each saying what to do."""
        bundle = load_with_sounds(model, sounds)
        chosen = choose_events(bundle, events, only, exclude, threshold, sensitivity)
        bundle = with_scores_of(bundle, chosen, scores)
        return cls(bundle, open_backend(bundle, backend), n_streams, chosen, policy)

    def _reporter(self, stream: int, spec: EventSpec, policy: PolicySpec | None) -> StepReporter:
        step_s = self.bundle.manifest.model.step_s
        open_watch = open_watch_of(self.backend)
        detector = EventDetector(self.labels, spec, step_s, open_watch=open_watch)
        parents, watched = self.bundle.parents, spec.thresholds
        sieve = None if policy is None else EventPolicy(policy, parents, watched)
        sizes = len(self.labels), self.backend.spec.embedding_dim
        return StepReporter(detector, sieve, partial(self._ends_s, stream), *sizes)

    def __enter__(self) -> BatchTagger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """As of a `Tagger`."""
        self._turns.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a BatchTagger follows streams and cannot be pickled or copied: open one in each "
            "process with BatchTagger.open"
        )

    def __repr__(self) -> str:
        name, backend = self.bundle.manifest.name, self.backend.name
        return f"<BatchTagger {name} on {backend}, {self.n_streams} streams>"

    def time_s(self, stream: int) -> float:
        """Audio seconds that a stream has heard so far."""
        return int(self._n_samples[self._known(stream)]) / self.sample_rate_hz

    def top(self, stream: int, k: int = 5) -> list[tuple[str, float]]:
        """The k labels with the highest scores after a stream's latest step, highest first."""
        return TopLabels(self.labels, k)(self.scores[self._known(stream)])

    def push(
        self, pcm: NDArray[Any], streams: Sequence[int] | None = None
    ) -> list[tuple[int, Event]]:
        """A block of each of these streams, or of all: int16, float32 or float64
        [n_streams, n], any n >= 0, as `Tagger.push` takes them -> (stream, event), in the order
        of the streams. Streams whose audio comes at other times, or in other amounts, take
        several calls.

        Raises UsageError as `Tagger.push` does, for rows that are not one for each stream, and for
        streams that are not there or there twice.
        """
        which = self._every_stream if streams is None else self._chosen(streams)
        blocks = self._checked(pcm, len(which))
        with self._turns:
            self._forget_ended(which)
            self._n_samples[which] += blocks.shape[1]
            return self._heard(which, self._input.take(blocks))

    def flush(self, stream: int) -> list[Event]:
        """Ends a stream: computes its last incomplete step, padded with zeros, and ends every open
        event. Its next samples start a new one; its scores can be read until then."""
        self._known(stream)
        with self._turns:
            time_s = self.time_s(stream)
            events = self._last_events(stream)
            events += self._reporters[stream].flush(time_s)
            self._begin(stream)
            self._has_ended[stream] = True
            return events

    def reset(self, stream: int) -> None:
        """Starts a new stream in the place of this one; nothing is reported."""
        self._known(stream)
        with self._turns:
            self._begin(stream)
            self.scores[stream] = 0.0

    def _forget_ended(self, streams: NDArray[np.intp]) -> None:
        ended = streams[self._has_ended[streams]]
        self.scores[ended] = 0.0
        self._has_ended[ended] = False

    def _begin(self, stream: int) -> None:
        self._n_samples[stream] = self._n_steps[stream] = 0
        self._has_ended[stream] = False
        self._batch.reset(stream)
        self._reporters[stream].reset()
        self._batch.watch(stream, self._reporters[stream].watch)

    def _ends_s(self, stream: int, steps: range) -> list[float]:
        return self._grid.ends_s(steps, int(self._n_samples[stream]))

    def _last_events(self, stream: int) -> list[Event]:
        n_waiting, n_missing = self._grid.begun(int(self._n_samples[stream]))
        if not n_waiting:
            return []
        padding = np.zeros((1, n_missing), np.float32)
        return [event for _, event in self._heard(np.array([stream]), padding)]

    def _heard(self, streams: NDArray[np.intp], blocks: FloatArray) -> list[tuple[int, Event]]:
        scores, n_steps, n_watched = self._batch.push(streams, blocks)
        has_steps = np.flatnonzero(n_steps)
        self.scores[streams[has_steps]] = scores[has_steps, n_steps[has_steps] - 1]
        self._n_steps[streams] += n_steps
        found = []
        for i in np.flatnonzero(n_steps > n_watched).tolist():  # few
            stream = int(streams[i])
            events = self._reported(stream, scores[i, : n_steps[i]], int(n_watched[i]))
            found += [(stream, event) for event in events]
        return found

    def _reported(self, stream: int, scores: FloatArray, n_watched: int) -> list[Event]:
        reporter = self._reporters[stream]
        reporter.n_steps = int(self._n_steps[stream]) - len(scores)
        n_quiet = n_watched if reporter.watch is not None else None
        part = ScoredSteps(scores, None, True, 0, n_quiet)
        events = [event for _, some in reporter.at_once(part) for event in some]
        self._batch.watch(stream, reporter.watch)
        return events

    def _chosen(self, streams: Sequence[int]) -> NDArray[np.intp]:
        try:
            numbers = [self._known(stream) for stream in streams]
        except TypeError as error:
            raise UsageError(f"streams is {streams!r}: give a list of numbers") from error
        if len(set(numbers)) < len(numbers):
            raise UsageError(f"streams {numbers} are not each another: push one block of each")
        return np.array(numbers, np.intp)

    def _known(self, stream: int) -> int:
        is_whole = isinstance(stream, int | np.integer) and not isinstance(stream, bool)
        if not (is_whole and 0 <= stream < self.n_streams):
            raise UsageError(f"there is no stream {stream!r}: they are 0 to {self.n_streams - 1}")
        return stream

    def _checked(self, pcm: NDArray[Any], n: int) -> NDArray[Any]:
        blocks = as_array(pcm)
        if blocks.ndim != 2 or len(blocks) != n:
            raise UsageError(
                f"samples have shape {blocks.shape}: pass one row for each stream, ({n}, n_samples)"
            )
        self._input.reset()  # each push may be of other streams, of whose samples nothing is known
        flat: NDArray[Any] = self._input.checked(blocks.reshape(-1))
        return flat.reshape(blocks.shape)
