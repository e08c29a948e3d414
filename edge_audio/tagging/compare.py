"""Two models, or one model on two runtimes, on the same recording: do they say the same?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend
from edge_audio.bundle.store import Bundle
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.tagging.tagger import Tagger


@dataclass(frozen=True)
class ScoreTrace:
    """All that a model says of a recording. times_s f64[n_steps]: ends of the steps; scores
    f32[n_steps, n_labels]."""

    name: str
    labels: tuple[str, ...]
    times_s: NDArray[np.float64]
    scores: NDArray[np.float32]
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Difference:
    """Between two traces, over the labels that both have. max_error, mean_error: of the scores.
    only_first, only_second: events without an equal one, scores aside, on the other side;
    n_equal: those that have one."""

    max_error: float
    mean_error: float
    n_equal: int
    only_first: tuple[Event, ...]
    only_second: tuple[Event, ...]

    @property
    def same_events(self) -> bool:
        """Whether kinds, labels and times of all events are equal."""
        return not self.only_first and not self.only_second


def trace(bundle: Bundle, backend: Backend, blocks: Iterable[NDArray[np.float32]]) -> ScoreTrace:
    """Runs the model over blocks of samples at its rate. Keeps every score: an hour takes 95 MB.

    Raises UsageError if the recording is shorter than a step.
    """
    tagger = Tagger(bundle, backend)
    steps = [step for samples in blocks for step in tagger.steps(samples)]
    if not steps:
        raise UsageError(f"the recording is shorter than a step of {bundle.manifest.name}")
    return ScoreTrace(
        name=f"{bundle.manifest.name}, {backend.name}",
        labels=bundle.manifest.labels,
        times_s=np.array([time_s for time_s, _, _ in steps]),
        scores=np.stack([scores for _, scores, _ in steps]),
        events=tuple([event for *_, events in steps for event in events] + tagger.flush()),
    )


def difference(first: ScoreTrace, second: ScoreTrace) -> Difference:
    """Raises UsageError if the traces have no label in common or steps of different lengths."""
    labels = [label for label in first.labels if label in set(second.labels)]
    if not labels:
        raise UsageError(f"{first.name} and {second.name} have no label in common")
    if len(first.times_s) != len(second.times_s):
        raise UsageError(
            f"{first.name} took {len(first.times_s)} steps and {second.name} "
            f"{len(second.times_s)}: only models with equal steps can be compared"
        )
    error = np.abs(columns(first, labels) - columns(second, labels))
    a, b = ({_key(e): e for e in side.events if e.label in labels} for side in (first, second))
    return Difference(
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        n_equal=len(a.keys() & b.keys()),
        only_first=tuple(event for key, event in a.items() if key not in b),
        only_second=tuple(event for key, event in b.items() if key not in a),
    )


def columns(trace: ScoreTrace, labels: Sequence[str]) -> NDArray[np.float32]:
    """Scores [n_steps, len(labels)] of those labels."""
    position = {label: index for index, label in enumerate(trace.labels)}
    return trace.scores[:, [position[label] for label in labels]]


def _key(event: Event) -> tuple[str, str, float]:
    return event.kind, event.label, event.time_s
