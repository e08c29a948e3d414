"""Labels that are off, and when they could have been events all the same."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.events.detector import Event, EventDetector, OpenWatch, watch_in_numpy
from edge_audio.events.suggestion import HYSTERESIS, suggested_threshold, why_off
from edge_audio.labels.ontology import ancestor_labels, related_labels

MAX_TOLD = 5

HEARD_ON = 0.3
"""Nothing is said of what scores less, though a lower threshold may be suggested for it: that may
be much of what a stream has."""


class HeardOff(NamedTuple):
    """A label that is off and was heard: its highest score, why it is off, and the threshold that
    is suggested for it."""

    label: str
    score: float
    why: str
    threshold: float

    def __str__(self) -> str:
        """One line, with what switches the label on."""
        why = self.why.removesuffix(" to judge it by")
        option = switch_on(self.label, self.threshold)
        return f"{self.label} {self.score:.2f}, off: {why}; {option}"


def heard_lines(heard: Sequence[HeardOff]) -> list[str]:
    """For people: the first MAX_TOLD, and how many more."""
    told = [str(one) for one in heard[:MAX_TOLD]]
    n_more = len(heard) - len(told)
    return [*told, f"{n_more} more labels that are off were heard"] if n_more else told


def switch_on(label: str, threshold: float) -> str:
    """The option that has a label watched, as a shell takes it."""
    return f"--threshold {shlex.quote(f'{label}={threshold:g}')}"


class UnwatchedSounds:
    """Follows the labels of a stream that are off, as if each had the threshold that is
    suggested for it, but HEARD_ON at least, and with the smoothing and durations of the others.

    heard: label -> its highest score, of those that would have been events. A label is passed
    over while a related one sounds, which says more or less the same, be it reported or folded
    into a more specific one: Bow-wow while Bark says all that there is to say of a Dog.
    """

    def __init__(
        self,
        labels: Sequence[str],
        spec: EventSpec,
        step_s: float,
        wanted: Collection[str] | None = None,
        open_watch: OpenWatch = watch_in_numpy,
    ) -> None:
        """spec: what the stream is watched by. wanted: labels that may be told of; None = all.
        open_watch: see `EventDetector`."""
        self._labels, self._step_s, self._open_watch = labels, step_s, open_watch
        self.heard: dict[str, float] = {}
        self.change(spec, wanted)

    def change(self, spec: EventSpec, wanted: Collection[str] | None = None) -> None:
        """Goes on beside other settings; what was heard stays, but of labels that are on now."""
        allowed = set(self._labels if wanted is None else wanted) - spec.thresholds.keys()
        off = {
            label: _assumed(suggested_threshold(spec, label))
            for label in self._labels
            if label in allowed
        }
        self._spec = spec
        assumed = msgspec.structs.replace(spec, thresholds=off)
        self._detector = EventDetector(
            self._labels, assumed, self._step_s, open_watch=self._open_watch
        )
        self._index = {label: i for i, label in enumerate(self._labels)}
        self._sounding: set[str] = set()
        self.heard = {label: score for label, score in self.heard.items() if label in off}

    def pass_over(self, scores: NDArray[np.float32], time_s: float) -> None:
        """A step while nobody wants to know: what sounds in it is not told, now or later."""
        self._detector.push(scores, time_s)
        self._sounding.clear()

    def reset(self) -> None:
        """Starts a new stream: nothing was heard."""
        self._detector.reset()
        self._sounding.clear()
        self.heard = {}

    def push(
        self, scores: NDArray[np.float32], time_s: float, sounding: Collection[str] = ()
    ) -> list[str]:
        """scores f32[n_labels] of the step that ends at time_s -> labels that are heard for the
        first time. sounding: labels that are on and sound, be their events reported or held
        back."""
        return self.push_steps(scores[None], [time_s], sounding)

    def push_steps(
        self, scores: NDArray[np.float32], times_s: Sequence[float], sounding: Collection[str] = ()
    ) -> list[str]:
        """The same for consecutive steps, f32[n_steps, n_labels]."""
        new, start = [], 0
        for i, events in self._detector.push_steps(scores, times_s.__getitem__):
            self._note(scores[start:i])
            new += self._new_of(events, sounding)
            start = i
        self._note(scores[start:])
        return new

    def _note(self, scores: NDArray[np.float32]) -> None:
        """What the labels that sound score meanwhile."""
        for label in self._sounding if len(scores) else ():
            highest = scores[:, self._index[label]].max().item()
            self.heard[label] = max(self.heard[label], highest)

    def _new_of(self, events: Sequence[Event], sounding: Collection[str]) -> list[str]:
        new: list[str] = []
        covering = self._covering(sounding)
        for event in events:
            if event.kind == "end":
                self._sounding.discard(event.label)
            elif not related_labels(event.label) & (covering | self._sounding):
                self._sounding.add(event.label)
                if event.label not in self.heard:
                    self.heard[event.label] = 0.0
                    new.append(event.label)
        return new

    def _covering(self, sounding: Collection[str]) -> set[str]:
        """Labels that sound, and those that are watched and that these are a kind of."""
        folded = set().union(*map(ancestor_labels, sounding)) & self._spec.thresholds.keys()
        return folded.union(sounding)

    def highest(self) -> list[HeardOff]:
        """All that were heard, those that scored highest first."""
        return [self.told(label) for label in sorted(self.heard, key=lambda x: -self.heard[x])]

    def lines(self) -> list[str]:
        """What was heard, for people."""
        return heard_lines(self.highest())

    def told(self, label: str) -> HeardOff:
        """What there is to say of a label that was heard."""
        why, threshold = why_off(self._spec, label), suggested_threshold(self._spec, label)
        return HeardOff(label, self.heard[label], why, threshold.on)


def _assumed(suggested: Threshold) -> Threshold:
    if suggested.on >= HEARD_ON:
        return suggested
    return Threshold(on=HEARD_ON, off=HYSTERESIS * HEARD_ON)
