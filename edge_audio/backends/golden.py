"""Golden replay on an open backend: does this machine compute what the maker's computed?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_audio.backends.base import Backend, step_blocks
from edge_audio.backends.registry import NATIVE
from edge_audio.bundle.golden import load_golden
from edge_audio.bundle.manifest import Tolerance
from edge_audio.bundle.spec import ModelSpec
from edge_audio.bundle.store import Bundle
from edge_audio.events.detector import Event, EventDetector
from edge_audio.features.frontend import log_mel, open_frontend

ENGINE_TOLERANCE = 2e-3
"""Of the C engine's scores, half of a step of 1/256: its maps, the weights of its convolutions and
the turns of its oscillators are 16-bit integers where other runtimes have float."""

Errors = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class VerifyResults:
    """Outcome of one replay. frames_error and scores_error are largest absolute differences,
    embedding_error the largest root mean square of a step, None where the golden has no embedding;
    infinite where shapes differ. `failure` says what is wrong, None if nothing is."""

    bundle: str
    backend: str
    n_steps: int
    frames_error: float
    scores_error: float
    embedding_error: float | None
    events_equal: bool
    failure: str | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def replay(bundle: Bundle, backend: Backend) -> VerifyResults:
    """Replays the bundle's golden on an open backend: samples -> frames, scores, events."""
    golden = load_golden(bundle)
    model = bundle.manifest.model
    samples = golden.samples.astype(np.float32) * np.float32(1.0 / 32768.0)
    scores, embedding = _outputs(bundle, backend, samples)
    times_s = [_step_end_s(model, i) for i in range(len(scores))]
    frames_error = _largest(_differences, log_mel(model.frontend, samples), golden.frames)
    scores_error = _largest(_differences, scores, golden.scores)
    embedding_error = None
    if golden.embedding is not None:
        embedding_error = _largest(rms_errors, embedding, golden.embedding)
    events_equal = _timeline(bundle, scores, times_s) == _timeline(bundle, golden.scores, times_s)
    errors = frames_error, scores_error, embedding_error
    return VerifyResults(
        bundle.manifest.name,
        backend.name,
        len(scores),
        *errors,
        events_equal=events_equal,
        failure=_failure(
            tolerance_of(backend.name, bundle.manifest.tolerance), *errors, events_equal
        )
        if len(scores)
        else "the golden recording is shorter than a step: nothing was compared",
    )


def tolerance_of(backend_name: str, tolerance: Tolerance) -> Tolerance:
    """What a backend's outputs may differ from the maker's: the manifest's `tolerance`, but for
    scores of the engine at least ENGINE_TOLERANCE."""
    if backend_name != NATIVE.name:
        return tolerance
    return msgspec.structs.replace(tolerance, scores=max(tolerance.scores, ENGINE_TOLERANCE))


def _outputs(
    bundle: Bundle, backend: Backend, samples: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """f32[n] -> what a stream of these samples is given: scores f32[n_steps, n_labels], embedding
    f32[n_steps, embedding_dim], which is empty where the bundle's graphs give none."""
    model = bundle.manifest.model
    rows = open_frontend(model, backend.log_mel).push(samples)
    state = backend.initial_state()
    scores: list[NDArray[np.float32]] = []
    embeddings: list[NDArray[np.float32]] = []
    for block in step_blocks(model, rows):
        if model.embedding is None:
            row, state = backend.step(block, state)
        else:
            row, embedding, state = backend.embed(block, state)
            embeddings.append(embedding)
        scores.append(row)
    found = np.array(scores, np.float32).reshape(-1, len(bundle.manifest.labels))
    return found, np.array(embeddings, np.float32)


def _step_end_s(model: ModelSpec, step: int) -> float:
    n_heard = model.overlap_samples + (step + 1) * model.step_samples
    return n_heard / model.frontend.sample_rate_hz


def _largest(errors_of: Errors, found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """inf where shapes differ, and for NaN."""
    if found.shape != expected.shape:
        return math.inf
    error = float(errors_of(found, expected).max(initial=0.0))
    return math.inf if math.isnan(error) else error


def _differences(found: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    errors: NDArray[np.float32] = np.abs(found - expected)
    return errors


def rms_errors(found: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    """f32[n_steps, embedding_dim], twice -> root mean square of the difference, f32[n_steps]."""
    errors: NDArray[np.float32] = np.sqrt(np.square(found - expected).mean(axis=1))
    return errors


def _timeline(
    bundle: Bundle, scores: NDArray[np.float32], times_s: Iterable[float]
) -> list[tuple[str, str, float]]:
    """The events of a whole recording without their scores, which may differ slightly."""
    manifest = bundle.manifest
    detector = EventDetector(manifest.labels, manifest.events, manifest.model.step_s)
    events: list[Event] = []
    time_s = 0.0
    for time_s, row in zip(times_s, scores, strict=False):  # lengths: see _largest
        events += detector.push(row, time_s)
    return [(event.kind, event.label, event.time_s) for event in events + detector.flush(time_s)]


def _failure(
    tolerance: Tolerance,
    frames_error: float,
    scores_error: float,
    embedding_error: float | None,
    events_equal: bool,
) -> str | None:
    if not frames_error <= tolerance.frames:
        return f"frames differ by {frames_error:.3g}, allowed is {tolerance.frames:.3g}"
    if not scores_error <= tolerance.scores:
        return f"scores differ by {scores_error:.3g}, allowed is {tolerance.scores:.3g}"
    if embedding_error is not None and not embedding_error <= tolerance.embedding:
        return f"embedding differs by {embedding_error:.3g}, allowed is {tolerance.embedding:.3g}"
    return None if events_equal else "events differ"
