"""Two models, or one model on two runtimes, on the same recording: do they say the same?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend
from edge_audio.bundle.spec import Threshold
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.events.policy import PolicySpec
from edge_audio.tagging.tagger import Tagger

_EPSILON_S = 1e-6  # times are sums of floats


@dataclass(frozen=True)
class ScoreTrace:
    """All that a model says of a recording. times_s f64[n_steps]: ends of the steps; scores
    f32[n_steps, n_labels]; thresholds: those that its events came by."""

    name: str
    labels: tuple[str, ...]
    times_s: NDArray[np.float64]
    scores: NDArray[np.float32]
    events: tuple[Event, ...]
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Between two traces, over the labels that both have. step_errors: f32[n_steps], the largest of
    each step's scores; max_error, mean_error: of all scores.
    only_first, only_second: events without one of their kind and label on the other side, at
    their time or within the tolerance; n_equal: those that have one. max_moved_s: how far apart
    in time these are at most; n_moved: how many are apart."""

    step_errors: NDArray[np.float32]
    mean_error: float
    n_equal: int
    only_first: tuple[Event, ...]
    only_second: tuple[Event, ...]
    max_moved_s: float = 0.0
    n_moved: int = 0

    @property
    def max_error(self) -> float:
        return float(self.step_errors.max())

    @property
    def n_alone(self) -> int:
        """Events of one side alone."""
        return len(self.only_first) + len(self.only_second)

    @property
    def same_events(self) -> bool:
        """Whether all events have one on the other side."""
        return not self.n_alone


def trace(
    bundle: Bundle,
    backend: Backend,
    blocks: Iterable[NDArray[np.float32]],
    policy: PolicySpec | None = None,
) -> ScoreTrace:
    """Runs the model over blocks of samples at its rate. Keeps every score: an hour takes 95 MB.
    policy: which of the detected events are those of the trace; None = all.

    Raises UsageError if the recording is shorter than a step.
    """
    tagger = Tagger(bundle, backend, policy=policy)
    steps = [step for samples in blocks for step in tagger.steps(samples)]
    if not steps:
        raise UsageError(f"the recording is shorter than a step of {bundle.manifest.name}")
    return ScoreTrace(
        name=f"{bundle.manifest.name}, {backend.name}",
        labels=bundle.manifest.labels,
        times_s=np.array([time_s for time_s, _, _ in steps]),
        scores=np.stack([scores for _, scores, _ in steps]),
        events=tuple([event for *_, events in steps for event in events] + tagger.flush()),
        thresholds=bundle.manifest.events.thresholds,
    )


def difference(first: ScoreTrace, second: ScoreTrace, tolerance_s: float = 0.0) -> Difference:
    """tolerance_s: how far apart two events may be that are the same sound.

    Raises UsageError if the traces have no label in common or steps of different lengths.
    """
    labels = [label for label in first.labels if label in set(second.labels)]
    if not labels:
        raise UsageError(f"{first.name} and {second.name} have no label in common")
    if len(first.times_s) != len(second.times_s):
        raise UsageError(
            f"{first.name} took {len(first.times_s)} steps and {second.name} "
            f"{len(second.times_s)}: only models with equal steps can be compared"
        )
    error = np.abs(columns(first, labels) - columns(second, labels))
    known = set(labels)
    pairs, only_first, only_second = match(
        [event for event in first.events if event.label in known],
        [event for event in second.events if event.label in known],
        tolerance_s,
    )
    moved_s = [abs(a.time_s - b.time_s) for a, b in pairs]
    return Difference(
        step_errors=error.max(1),
        mean_error=float(error.mean()),
        n_equal=len(pairs),
        only_first=tuple(only_first),
        only_second=tuple(only_second),
        max_moved_s=max(moved_s, default=0.0),
        n_moved=sum(apart_s > _EPSILON_S for apart_s in moved_s),
    )


def match(
    first: Sequence[Event], second: Sequence[Event], tolerance_s: float
) -> tuple[list[tuple[Event, Event]], list[Event], list[Event]]:
    """Pairs of events of one kind and label, at most tolerance_s apart, then those of either side
    that have no partner. Each event goes with the nearest that is left, nearest pairs first."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for j, event in enumerate(second):
        groups[event.kind, event.label].append(j)
    candidates = [
        (abs(event.time_s - second[j].time_s), i, j)
        for i, event in enumerate(first)
        for j in groups[event.kind, event.label]
        if abs(event.time_s - second[j].time_s) <= tolerance_s + _EPSILON_S
    ]
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates):
        if i not in partners and j not in taken:
            partners[i] = j
            taken.add(j)
    pairs = [(first[i], second[j]) for i, j in sorted(partners.items())]
    only_first = [event for i, event in enumerate(first) if i not in partners]
    return pairs, only_first, [event for j, event in enumerate(second) if j not in taken]


def columns(trace: ScoreTrace, labels: Sequence[str]) -> NDArray[np.float32]:
    """Scores [n_steps, len(labels)] of those labels."""
    position = {label: index for index, label in enumerate(trace.labels)}
    return trace.scores[:, [position[label] for label in labels]]
