"""Golden replay: does this machine compute what the model's maker computed?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_audio.backends import Backend, open_backend
from edge_audio.bundle.store import Bundle, Tolerance, load_golden
from edge_audio.events.detector import Event, EventDetector
from edge_audio.features.frontend import log_mel
from edge_audio.tagging.tagger import Tagger


@dataclass(frozen=True)
class VerifyReport:
    """Outcome of one replay. frames_error and scores_error are largest absolute differences,
    infinite where shapes differ; `failure` says what is wrong, None if nothing is."""

    bundle: str
    backend: str
    n_steps: int
    frames_error: float
    scores_error: float
    events_equal: bool
    failure: str | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def verify_bundle(bundle: Bundle, backend_name: str) -> VerifyReport:
    """Checks every file of the bundle and replays its golden on one backend.

    A mismatch is a report with a failure. Raises BundleError if a part is missing or altered,
    BackendError if the backend cannot run the model at all.
    """
    for name in bundle.manifest.files:
        bundle.file(name)
    return replay(bundle, open_backend(bundle, backend_name))


def replay(bundle: Bundle, backend: Backend) -> VerifyReport:
    """Replays the bundle's golden on an open backend: samples -> frames, scores, events."""
    golden = load_golden(bundle)
    model = bundle.manifest.model
    samples = golden.samples.astype(np.float32) * np.float32(1.0 / 32768.0)
    steps = list(Tagger(bundle, backend).stream(golden.samples))
    scores = np.array([step_scores for _, step_scores, _ in steps], np.float32)
    scores = scores.reshape(-1, len(bundle.manifest.labels))  # also where there is no step
    times_s = [time_s for time_s, _, _ in steps]
    frames_error = _max_error(log_mel(model.frontend, samples), golden.frames)
    scores_error = _max_error(scores, golden.scores)
    events_equal = _timeline(bundle, scores, times_s) == _timeline(bundle, golden.scores, times_s)
    return VerifyReport(
        bundle=bundle.manifest.name,
        backend=backend.name,
        n_steps=len(steps),
        frames_error=frames_error,
        scores_error=scores_error,
        events_equal=events_equal,
        failure=_failure(bundle.manifest.tolerance, frames_error, scores_error, events_equal),
    )


def _max_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape:
        return math.inf
    error = float(np.abs(found - expected).max(initial=0.0))
    return math.inf if math.isnan(error) else error


def _timeline(
    bundle: Bundle, scores: NDArray[np.float32], times_s: Iterable[float]
) -> list[tuple[str, str, float]]:
    """The events of a whole recording without their scores, which may differ slightly."""
    manifest = bundle.manifest
    detector = EventDetector(manifest.labels, manifest.events, manifest.model.step_s)
    events: list[Event] = []
    time_s = 0.0
    for time_s, row in zip(times_s, scores, strict=False):  # lengths: see _max_error
        events += detector.push(row, time_s)
    return [(event.kind, event.label, event.time_s) for event in events + detector.flush(time_s)]


def _failure(
    tolerance: Tolerance, frames_error: float, scores_error: float, events_equal: bool
) -> str | None:
    if not frames_error <= tolerance.frames:
        return f"frames differ by {frames_error:.3g}, allowed is {tolerance.frames:.3g}"
    if not scores_error <= tolerance.scores:
        return f"scores differ by {scores_error:.3g}, allowed is {tolerance.scores:.3g}"
    return None if events_equal else "events differ"
