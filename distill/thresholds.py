"""Event thresholds from held-out clips, at a stated precision: the same way for every model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.signal import lfilter

from distill.data import Clip
from distill.listeners import Listener
from distill.scorers import SAMPLE_RATE_HZ
from edge_audio.events import HYSTERESIS, smoothing_factor
from edge_audio.spec import EventSpec, Spec, Threshold

FloatArray = NDArray[np.float32]

_TAIL_SAMPLES = SAMPLE_RATE_HZ // 2


class CalibrationConfig(Spec, frozen=True):
    """smoothing_s, min_on_s, min_off_s: see EventSpec.
    min_precision: what the threshold must reach on the held-out clips.
    min_positives: labels with fewer held-out clips stay off by default.
    min_recall: labels that reach the precision only by missing nearly everything stay off.
    min_on: no threshold is lower: clips are too few to trust scores that small.
    """

    smoothing_s: float = 0.16
    min_on_s: float = 0.08
    min_off_s: float = 0.4
    min_precision: float = 0.8
    min_positives: int = 5
    min_recall: float = 0.3
    min_on: float = 0.05


def calibrate(
    config: CalibrationConfig,
    listener: Listener,
    samples: Iterable[FloatArray],
    clips: Sequence[Clip],
) -> EventSpec:
    """Thresholds from the samples of the clips, each streamed from a fresh state and followed by
    a little silence, so that a late score counts."""
    tail = np.zeros(_TAIL_SAMPLES, np.float32)
    heard = track(
        samples,
        f"calibrating {listener.name}",
        total=len(clips),
        console=Console(stderr=True),
        transient=True,
    )
    scores = (listener.stream(np.concatenate([clip, tail])).scores for clip in heard)
    peaks = np.stack([peak_scores(config, rows, listener.step_s) for rows in scores])
    return choose_events(config, listener.labels, listener.step_s, peaks, clips)


def choose_events(
    config: CalibrationConfig,
    labels: Sequence[str],
    step_s: float,
    peaks: FloatArray,
    clips: Sequence[Clip],
) -> EventSpec:
    """Thresholds for a model that scores every step_s, from the `peak_scores` f32[n_clips,
    n_labels] of the clips. min_on_s is counted in whole steps: one score of a long window tells
    more than min_on_s already."""
    thresholds = {}
    for column, label in enumerate(labels):
        is_positive = np.array([label in clip.labels for clip in clips])
        if threshold := choose_threshold(config, peaks[:, column], is_positive):
            thresholds[label] = threshold
    return EventSpec(
        smoothing_s=config.smoothing_s,
        min_on_s=round(config.min_on_s / step_s) * step_s,
        min_off_s=config.min_off_s,
        thresholds=thresholds,
    )


def peak_scores(config: CalibrationConfig, scores: FloatArray, step_s: float) -> FloatArray:
    """A clip's scores f32[n_steps, n_labels] -> f32[n_labels]: the highest that would have
    started an event, that is smoothed and held for min_on_s."""
    alpha = smoothing_factor(config.smoothing_s, step_s)
    smoothed = lfilter([alpha], [1.0, alpha - 1.0], scores, axis=0)
    n_held = min(1 + round(config.min_on_s / step_s), len(smoothed))
    held = np.lib.stride_tricks.sliding_window_view(smoothed, n_held, axis=0).min(axis=-1)
    return held.max(axis=0).astype(np.float32)


def choose_threshold(
    config: CalibrationConfig, peaks: FloatArray, is_positive: NDArray[np.bool_]
) -> Threshold | None:
    """The lowest threshold that reaches the precision, halfway down to the next lower score;
    None without enough evidence."""
    n_positives = int(is_positive.sum())
    if n_positives < config.min_positives:
        return None
    order = np.argsort(-peaks, kind="stable")
    scores, hits = peaks[order], np.cumsum(is_positive[order])
    precision = hits / np.arange(1, len(order) + 1)
    last = _last_at((precision >= config.min_precision) & (scores >= config.min_on))
    if last is None or hits[last] < config.min_recall * n_positives:
        return None
    below = float(scores[last + 1]) if last + 1 < len(scores) else 0.0
    on = _between(max(below, config.min_on), float(scores[last]))
    return Threshold(
        on=on,
        off=round(HYSTERESIS * on, 4),
        precision=round(float(precision[last]), 3),
        recall=round(float(hits[last]) / n_positives, 3),
        n_positives=n_positives,
    )


def _between(low: float, high: float) -> float:
    """Halfway, with four digits if that still lies above `low` and not above `high`."""
    middle = (low + high) / 2.0
    return round(middle, 4) if low < round(middle, 4) <= high else middle


def _last_at(mask: NDArray[np.bool_]) -> int | None:
    positions = np.flatnonzero(mask)
    return int(positions[-1]) if len(positions) else None
