"""Scores -> start and end events: smoothing, hysteresis and minimum durations per label."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec, Threshold

_SILENT, _CERTAIN = np.float32(0.0), np.float32(1.0)
_EPSILON_S = 1e-6  # step times are sums of floats: a duration may fall short by rounding


class Event(msgspec.Struct, frozen=True):
    """A sound began or ended.

    time_s: audio seconds since the start of the stream. A start has the end of the step in
        which the smoothed score first reached `on`; an end has that in which it first fell
        below `off`. Both are reported later by min_on_s and min_off_s.
    score: for a start the smoothed score when it was reported, for an end the highest one
        from then on.
    """

    kind: Literal["start", "end"]
    label: str
    time_s: float
    score: float


class LabelState(NamedTuple):
    """What a detector knows of one label after a step.

    threshold: None where the label is not watched. smoothed: its smoothed score. is_active:
    between a reported start and its end. limit: what the smoothed score has to cross, `on` before
    an event and `off` within; infinite where the label is not watched. beyond_s: for how long it
    has been beyond. wait_s: for how long it must be.
    """

    threshold: Threshold | None
    smoothed: float
    is_active: bool
    limit: float
    beyond_s: float
    wait_s: float


@dataclass(frozen=True, eq=False)
class Watched:
    """The labels that a detector follows, arrays of one item for each. A `Watch` of them changes
    `smoothed` and `peak` in place; the detector changes `limit` and `is_active`.

    index: of their scores, int. limit: what the smoothed score has to cross. rise, fall: see
    `smoothing_factor`, of a score above the smoothed one and of others.
    """

    index: NDArray[np.intp]
    smoothed: NDArray[np.float32]
    peak: NDArray[np.float32]
    limit: NDArray[np.float32]
    is_active: NDArray[np.bool_]
    rise: np.float32
    fall: np.float32


Watch = Callable[[NDArray[np.float32]], int]
"""Takes scores f32[n_steps, n_labels] of consecutive steps, up to the first after which any label
is beyond its limit; the number of that step, n_steps if there is none."""
OpenWatch = Callable[[Watched], Watch]


def smoothing_factor(smoothing_s: float, step_s: float) -> float:
    """How far an exponential smoothing with this time constant moves in one step, in (0, 1]."""
    return -math.expm1(-step_s / smoothing_s) if smoothing_s > 0 else 1.0


def watch_in_numpy(labels: Watched) -> Watch:
    """The operations that every other `Watch` has to do in the same order, for the same bits."""
    is_even = labels.rise == labels.fall

    def is_any_beyond(scores: NDArray[np.float32]) -> bool:
        change = scores[labels.index]
        np.fmax(change, _SILENT, out=change)  # unlike maximum, it drops NaN
        np.fmin(change, _CERTAIN, out=change)
        change -= labels.smoothed
        change *= labels.fall if is_even else np.where(change > _SILENT, labels.rise, labels.fall)
        np.add(labels.smoothed, change, out=labels.smoothed)
        np.maximum(labels.peak, labels.smoothed, out=labels.peak)
        return bool(((labels.smoothed >= labels.limit) != labels.is_active).any())

    def watch(scores: NDArray[np.float32]) -> int:
        return next((i for i, row in enumerate(scores) if is_any_beyond(row)), len(scores))

    return watch


class EventDetector:
    """Follows one stream. Per label the events alternate between start and end, with rising
    times, and last at least min_on_s.

    Scores are probabilities: what lies outside of 0 and 1 counts as the nearer of them, and NaN
    as 0, so that no score of one step spoils the steps after it.
    """

    def __init__(
        self,
        labels: Sequence[str],
        spec: EventSpec,
        step_s: float,
        explained: Collection[str] = (),
        open_watch: OpenWatch = watch_in_numpy,
    ) -> None:
        """labels: of all scores; only those in spec.thresholds are watched. step_s: seconds
        between two pushes. explained: labels whose `state` is asked for, watched or not.
        open_watch: what does the work of nearly all steps."""
        self._all_labels, self._step_s, self._open_watch = labels, step_s, open_watch
        self._explained = frozenset(explained)
        self._configure(spec)
        self.reset()

    def _configure(self, spec: EventSpec) -> None:
        followed = self._explained | spec.thresholds.keys()
        enabled = [(i, label) for i, label in enumerate(self._all_labels) if label in followed]
        self.spec = spec
        self.labels = [label for _, label in enabled]
        self._index = np.array([i for i, _ in enabled], np.intp)
        thresholds = [spec.thresholds.get(label) for label in self.labels]
        self._on = np.array([x.on if x else np.inf for x in thresholds], np.float32)
        self._off = np.array([x.off if x else np.inf for x in thresholds], np.float32)
        self._rise = np.float32(smoothing_factor(spec.rising_s, self._step_s))
        self._fall = np.float32(smoothing_factor(spec.smoothing_s, self._step_s))

    def reset(self) -> None:
        """Forgets everything: as if nothing had sounded before the next push."""
        n = len(self.labels)
        self._smoothed = np.zeros(n, np.float32)
        self._peak = np.zeros(n, np.float32)  # since the latest start or end
        self._active = np.zeros(n, bool)  # between a reported start and its end
        self._limit = self._on.copy()  # `off` where active
        self._crossed_s: dict[int, float] = {}  # labels beyond their limit, and since when
        self._time_s = 0.0  # of the latest push
        smoothed, peak, limit = self._smoothed, self._peak, self._limit
        factors = self._rise, self._fall
        labels = Watched(self._index, smoothed, peak, limit, self._active, *factors)
        self._watch = self._open_watch(labels)  # which keeps to these arrays

    def state(self, label: str) -> LabelState:
        """After the latest push, of a label that is watched or explained. Raises ValueError for
        any other."""
        i = self.labels.index(label)
        return LabelState(
            threshold=self.spec.thresholds.get(label),
            smoothed=self._smoothed.item(i),
            is_active=self._active.item(i),
            limit=self._limit.item(i),
            beyond_s=self._time_s - self._crossed_s.get(i, self._time_s),
            wait_s=self._wait_s(i),
        )

    @property
    def watch(self) -> Watch | None:
        """What may take the next steps in the place of this detector, which is then told how many
        they were (`push_steps`); None where it has to follow them itself."""
        return None if self._crossed_s else self._watch

    @property
    def is_idle(self) -> bool:
        """Whether no event is open or about to be reported."""
        return not (self._crossed_s or self._active.any())

    def _wait_s(self, i: int) -> float:
        return self.spec.min_off_s if self._active[i] else self.spec.min_on_s

    def push(self, scores: NDArray[np.float32], time_s: float) -> list[Event]:
        """scores f32[n_labels] of the step that ends at time_s -> events, sorted by time."""
        found = self.push_steps(scores[None], lambda _: time_s)
        return [event for _, events in found for event in events]

    def push_steps(
        self,
        scores: NDArray[np.float32],
        end_s: Callable[[int], float],
        n_watched: int | None = None,
    ) -> list[tuple[int, list[Event]]]:
        """The same for consecutive steps, f32[n_steps, n_labels], number i of which ends at
        end_s(i) -> (number, events) of those that bring events. n_watched: where `watch` has
        taken them already, what it said."""
        found, i, n_steps = [], 0, len(scores)
        while i < n_steps:
            if n_watched is not None:
                i, n_watched = n_watched, None
            elif self._crossed_s:
                self._watch(scores[i : i + 1])
            else:  # nearly all steps
                i += self._watch(scores[i:])
            if i == n_steps:
                break
            if events := self._after_crossing(end_s(i)):
                found.append((i, events))
            i += 1
        if n_steps:
            self._time_s = end_s(n_steps - 1)
        return found

    def _after_crossing(self, time_s: float) -> list[Event]:
        """Events of a step after which a label is beyond its limit, or was before."""
        beyond = ((self._smoothed >= self._limit) != self._active).nonzero()[0].tolist()
        self._crossed_s = {i: self._crossed_s.get(i, time_s) for i in beyond}
        since_s = self._crossed_s.items()
        due = [i for i, crossed_s in since_s if time_s - crossed_s >= self._wait_s(i) - _EPSILON_S]
        return self._toggle(due, time_s) if due else []

    def flush(self, time_s: float) -> list[Event]:
        """Ends what still sounds, at time_s unless it had already fallen below `off`; then
        resets."""
        events = self._toggle(np.flatnonzero(self._active).tolist(), time_s)
        self.reset()
        return events

    def change(self, spec: EventSpec, time_s: float) -> list[Event]:
        """Goes on by another spec. Labels that both watch stay where they are; of the others,
        those that sound end, at time_s. A label that is watched from now on starts from 0,
        whether it was explained before or not."""
        is_gone = np.array([label not in spec.thresholds for label in self.labels], bool)
        crossed_s = dict(self._crossed_s)
        events = self._toggle(np.flatnonzero(is_gone & self._active).tolist(), time_s)
        before = {label: i for i, label in enumerate(self.labels)}
        was_watched = self.spec.thresholds.keys()
        old = (self._smoothed, self._peak, self._active)
        self._configure(spec)
        self.reset()
        new_labels = spec.thresholds.keys() - was_watched
        kept = [
            (before[label], i)
            for i, label in enumerate(self.labels)
            if label in before and label not in new_labels
        ]
        source, target = np.array(kept, np.intp).reshape(-1, 2).T
        new = (self._smoothed, self._peak, self._active)
        for values, array in zip(old, new, strict=True):
            array[target] = values[source]
        self._limit[:] = np.where(self._active, self._off, self._on)
        is_beyond = (self._smoothed >= self._limit) != self._active
        self._crossed_s = {
            i: crossed_s[old_i] for old_i, i in kept if old_i in crossed_s and is_beyond[i]
        }
        self._time_s = time_s
        return events

    def _toggle(self, indices: list[int], time_s: float) -> list[Event]:
        """Starts those labels that are inactive and ends those that are active: when they were
        beyond their limit, or else at time_s."""
        events = [self._event(i, self._crossed_s.pop(i, time_s)) for i in indices]
        active = ~self._active[indices]
        self._active[indices] = active
        self._limit[indices] = np.where(active, self._off[indices], self._on[indices])
        self._peak[indices] = self._smoothed[indices]
        return sorted(events, key=_by_time)

    def _event(self, i: int, time_s: float) -> Event:
        if self._active[i]:
            return Event("end", self.labels[i], time_s, self._peak.item(i))
        return Event("start", self.labels[i], time_s, self._smoothed.item(i))


def _by_time(event: Event) -> float:
    return event.time_s
