"""From scores of whole steps to events that are reported: what a tagger does behind the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.detector import Event, EventDetector, Watch
from edge_audio.events.policy import EventPolicy
from edge_audio.tagging.scorer import ScoredSteps

Found = list[tuple[int, list[Event]]]
"""Numbers of steps, rising, and the events that each brings."""


class Step(NamedTuple):
    """What one step brought.

    time_s: audio seconds from the start of the stream to the end of the step.
    scores: f32[n_labels], probabilities in the order of `Tagger.labels`.
    events: starts and ends that the step brought to light, at its time or a little earlier.
    """

    time_s: float
    scores: NDArray[np.float32]
    events: list[Event]


class Steps(NamedTuple):
    """What consecutive steps brought, of which only the first brings events.

    times_s, scores f32[n_steps, n_labels]: as of `Step`, of each. events: of the first.
    embeddings: f32[n_steps, embedding_dim], None unless the tagger was opened with embedding=True.
    held_back: labels that sound meanwhile and that the policy does not report.
    """

    times_s: list[float]
    scores: NDArray[np.float32]
    events: list[Event]
    embeddings: NDArray[np.float32] | None
    held_back: frozenset[str]


class StepReporter:
    """Follows one stream by a detector and, if there is one, a policy.

    n_steps: so far. n_skipped_steps: those of them that the model did not hear.
    scores f32[n_labels], embedding f32[embedding_dim]: of the latest that it heard.
    """

    def __init__(
        self,
        detector: EventDetector,
        policy: EventPolicy | None,
        ends_s: Callable[[range], list[float]],
        n_labels: int,
        embedding_dim: int,
    ) -> None:
        """ends_s: audio seconds at the ends of these steps."""
        self.detector, self.policy, self._ends_s = detector, policy, ends_s
        self._n_labels, self._embedding_dim = n_labels, embedding_dim
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self.detector.reset()
        if self.policy is not None:
            self.policy.reset()
        self.n_steps = self.n_skipped_steps = 0
        self._held_back: dict[int, frozenset[str]] = {}  # steps of the latest part that changed it
        self.scores = np.zeros(self._n_labels, np.float32)
        self.embedding = np.zeros(self._embedding_dim, np.float32)

    def is_idle(self) -> bool:
        """Whether no event is open or about to be reported."""
        return self.detector.is_idle

    @property
    def watch(self) -> Watch | None:
        """What may follow the next steps in the place of this reporter, which is then told of those
        alone that it stopped at; None where all of them bring work."""
        is_waiting = self.policy is not None and self.policy.is_waiting
        return None if is_waiting else self.detector.watch

    def change(self, spec: EventSpec) -> list[Event]:
        """Goes on by another spec -> ends of events whose labels are no longer watched."""
        time_s = self._end_s(self.n_steps)
        ended = self.detector.change(spec, time_s)
        if self.policy is None:
            return ended
        self.policy.watch(spec.thresholds)
        return self.policy.push(ended, time_s)

    def flush(self, time_s: float) -> list[Event]:
        """Ends all events of a stream that ends at time_s."""
        ended = self.detector.flush(time_s)
        return ended if self.policy is None else self.policy.flush(ended, time_s)

    def one_by_one(self, scored: Iterable[ScoredSteps]) -> Iterator[Step]:
        """Each step as it is asked for. The first one behind those that are late has their events:
        they were yielded when they were skipped."""
        for part in scored:
            self._forget_skipped(part)
            events: list[Event] = []
            for i in range(len(part.scores)):
                events += self._next(part, i)
                if i < part.n_late:
                    continue
                time_s = self._end_s(self.n_steps)
                if self.policy is not None:
                    events = self.policy.push(events, time_s)
                yield Step(time_s, part.scores[i], events)
                events = []

    def at_once(self, part: ScoredSteps) -> Found:
        """All steps of a part, numbered within it, as `one_by_one` has them."""
        if part.n_late:
            self._forget_skipped(part)
        n_steps, first = len(part.scores), self.n_steps + 1
        self.n_steps += n_steps
        self._held_back = {}
        if not part.is_heard:
            self.n_skipped_steps += n_steps
            return self._reported([], range(n_steps), first)
        self._keep(part, -1)
        if part.n_watched == n_steps:  # nearly all parts
            return []
        found = self.detector.push_steps(
            part.scores, lambda i: self._end_s(first + i), part.n_watched
        )
        if part.n_late:
            found = _not_late(found, part.n_late)
        return self._reported(found, range(part.n_late, n_steps), first)

    def cut(self, part: ScoredSteps) -> Iterator[Steps]:
        """The same, as stretches that begin with events."""
        held_back = self._held_back_now
        events = dict(self.at_once(part))
        n_steps = len(part.scores)
        ends_s = self._ends_s(range(self.n_steps - n_steps + 1, self.n_steps + 1))
        starts = sorted({part.n_late, *events, *self._held_back})
        for start, end in zip(starts, [*starts[1:], n_steps], strict=True):
            embeddings = None if part.embeddings is None else part.embeddings[start:end]
            held_back = self._held_back.get(start, held_back)
            scores = part.scores[start:end]
            yield Steps(ends_s[start:end], scores, events.get(start, []), embeddings, held_back)

    @property
    def _held_back_now(self) -> frozenset[str]:
        return frozenset() if self.policy is None else self.policy.held_back

    def _end_s(self, step: int) -> float:
        return self._ends_s(range(step, step + 1))[0]

    def _forget_skipped(self, part: ScoredSteps) -> None:
        self.n_steps -= part.n_late
        self.n_skipped_steps -= part.n_late

    def _next(self, part: ScoredSteps, i: int) -> list[Event]:
        self.n_steps += 1
        if not part.is_heard:
            self.n_skipped_steps += 1
            return []
        self._keep(part, i)
        return self.detector.push(part.scores[i], self._end_s(self.n_steps))

    def _keep(self, part: ScoredSteps, i: int) -> None:
        self.scores = part.scores[i].copy()  # a view would keep the scores of all streams
        if part.embeddings is not None:
            self.embedding = part.embeddings[i].copy()

    def _reported(self, found: Found, numbers: range, first: int) -> Found:
        """What the policy lets pass; number 0 is step `first` of the stream."""
        policy = self.policy
        if policy is None or not (found or policy.is_waiting):  # nearly all parts
            return found
        events, passed, held_back = dict(found), [], policy.held_back
        for i in numbers:
            if not (i in events or policy.is_waiting):  # which change nothing
                continue
            if some := policy.push(events.get(i, ()), self._end_s(first + i)):
                passed.append((i, some))
            if (now := policy.held_back) != held_back:
                self._held_back[i] = held_back = now
        return passed


def _not_late(found: Found, n_late: int) -> Found:
    """The same, where the first step that is not late has the events of those that are."""
    late = [event for i, events in found if i <= n_late for event in events]
    rest = [(i, events) for i, events in found if i > n_late]
    return [(n_late, late), *rest] if late else rest
