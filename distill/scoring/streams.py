"""Scorers that listen to a stream: students step by step, other models on sliding windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from distill.scoring.clips import (
    SAMPLE_RATE_HZ,
    BundleScorer,
    Scorer,
    StudentScorer,
    TeacherScorer,
    YamnetScorer,
    at_rate,
)
from distill.teachers import yamnet
from edge_audio.backends.engine_library import load_engine
from edge_audio.backends.native import NativeWatch
from edge_audio.bundle.spec import EventSpec
from edge_audio.errors import BackendError, UsageError
from edge_audio.events.detector import Event, EventDetector, OpenWatch, watch_in_numpy
from edge_audio.events.sweep import SweptDetector
from edge_audio.support.arrays import FloatArray

TEACHER_WINDOW_S, TEACHER_HOP_S = 2.0, 0.5
"""Shorter than the 10 s that teachers are trained on, so that they answer sooner."""

_N_WINDOWS = 8  # at a time: more are slower on one core


class ScoreTrack(NamedTuple):
    """scores f32[n_steps, n_labels], probabilities; times_s f64[n_steps], how much audio was
    heard when each row came out."""

    times_s: NDArray[np.float64]
    scores: FloatArray


class StreamScorer(Protocol):
    """Scores one stream, f32[n > 0] mono at SAMPLE_RATE_HZ, from a fresh state.

    step_s: time between two scores. lag_s: how far a score trails the sound that it speaks of,
    that is the declared latency of a streaming model and half the window of any other.
    """

    name: str
    labels: tuple[str, ...]
    step_s: float
    lag_s: float

    def track(self, samples: FloatArray) -> ScoreTrack: ...


class StepStreamScorer:
    """A student or bundle, which carries its state from step to step."""

    def __init__(self, scorer: StudentScorer | BundleScorer) -> None:
        self.name, self.labels = scorer.name, scorer.labels
        self.step_s, self.lag_s = scorer.spec.step_s, scorer.spec.latency_ms / 1e3
        self._scorer = scorer

    def track(self, samples: FloatArray) -> ScoreTrack:
        frontend = self._scorer.spec.frontend
        scores = self._scorer.steps(samples)
        return ScoreTrack(
            frontend.overlap_samples / frontend.sample_rate_hz + _step_ends_s(scores, self.step_s),
            scores,
        )


class WindowStreamScorer:
    """A model that hears the latest window_s every hop_s, silence before the stream began.

    classify: windows f32[B, n] at rate_hz -> probabilities f32[B, n_labels].
    """

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        window_s: float,
        hop_s: float,
        rate_hz: int,
        classify: Callable[[FloatArray], FloatArray],
    ) -> None:
        self.name, self.labels = name, labels
        self.step_s, self.lag_s = hop_s, window_s / 2.0
        self._window, self._hop = round(window_s * rate_hz), round(hop_s * rate_hz)
        self._rate_hz, self._classify = rate_hz, classify

    def track(self, samples: FloatArray) -> ScoreTrack:
        samples = at_rate(samples, self._rate_hz)
        padded = np.pad(samples, (self._window - self._hop, -len(samples) % self._hop))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._window)[:: self._hop]
        starts = range(0, len(windows), _N_WINDOWS)
        batches = (windows[start : start + _N_WINDOWS].copy() for start in starts)
        scores = np.concatenate([self._classify(batch) for batch in batches])
        return ScoreTrack(_step_ends_s(scores, self.step_s), scores)


def _step_ends_s(scores: FloatArray, step_s: float) -> NDArray[np.float64]:
    return np.asarray(step_s * np.arange(1, len(scores) + 1), np.float64)


def open_stream_scorer(scorer: Scorer) -> StreamScorer:
    """The scorer as it would listen; UsageError if it cannot."""
    if isinstance(scorer, StudentScorer | BundleScorer):
        return StepStreamScorer(scorer)
    if isinstance(scorer, TeacherScorer):
        name = f"{scorer.name}, {TEACHER_WINDOW_S:g} s windows"
        return WindowStreamScorer(
            name,
            scorer.labels,
            TEACHER_WINDOW_S,
            TEACHER_HOP_S,
            scorer.rate_hz,
            scorer.probabilities,
        )
    if isinstance(scorer, YamnetScorer):
        return WindowStreamScorer(
            scorer.name,
            scorer.labels,
            yamnet.WINDOW_SAMPLES / SAMPLE_RATE_HZ,
            yamnet.HOP_SAMPLES / SAMPLE_RATE_HZ,
            SAMPLE_RATE_HZ,
            lambda windows: np.stack([scorer.score(window).scores for window in windows]),
        )
    raise UsageError(f"{scorer.name} scores whole clips only: it cannot listen to a stream")


class Segment(NamedTuple):
    """A label from start to end, as events report them. seen_s: how much audio was heard when the
    start was reported."""

    label: str
    start_s: float
    end_s: float
    seen_s: float


def find_segments(
    track: ScoreTrack, labels: tuple[str, ...], spec: EventSpec, step_s: float
) -> list[Segment]:
    """The segments of one track, in the order in which they end."""
    detector = EventDetector(labels, spec, step_s, open_watch=quickest_watch())
    times_s = track.times_s.tolist()
    scores = np.ascontiguousarray(track.scores, np.float32)
    found = detector.push_steps(scores, times_s.__getitem__)
    reported = [(times_s[i], events) for i, events in found]
    reported.append((times_s[-1], detector.flush(times_s[-1])))
    return list(segments_of(reported))


@cache
def quickest_watch() -> OpenWatch:
    """That of the engine, or where there is none and no compiler, the same in NumPy."""
    try:
        return partial(NativeWatch, load_engine())
    except BackendError:
        return watch_in_numpy


def swept_segments(
    track: ScoreTrack, detector: SweptDetector, labels: Sequence[str]
) -> Iterator[tuple[int, int, Segment]]:
    """(row, column, segment) of one track at every threshold of a detector whose rows are
    the labels, in the order in which they end."""
    for one in segments_of(_swept(track, detector)):
        row, column = detector.place(one.label)
        yield row, column, one._replace(label=labels[row])


def _swept(track: ScoreTrack, detector: SweptDetector) -> Iterator[tuple[float, list[Event]]]:
    """What a fresh detector reports, and when; it is fresh again afterwards."""
    times_s = track.times_s.tolist()
    for time_s, scores in zip(times_s, track.scores, strict=True):
        yield time_s, detector.push(scores, time_s)
    yield times_s[-1], detector.flush(times_s[-1])


def segments_of(reported: Iterable[tuple[float, list[Event]]]) -> Iterator[Segment]:
    """The segments of the events of one stream, each with the time when it was reported."""
    seen: dict[str, tuple[Event, float]] = {}
    for now_s, events in reported:
        for event in events:
            if event.kind == "start":
                seen[event.label] = (event, now_s)
            else:
                start, seen_s = seen.pop(event.label)
                yield Segment(event.label, start.time_s, event.time_s, seen_s)
