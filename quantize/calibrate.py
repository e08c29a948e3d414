"""Event thresholds from held-out clips, at a stated precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.signal import lfilter

from distill.data import Clip, ClipStore
from edge_audio.backends import Backend
from edge_audio.bundle import Bundle
from edge_audio.events import HYSTERESIS, smoothing_factor
from edge_audio.spec import EventSpec, Spec, Threshold
from edge_audio.tagger import Tagger

FloatArray = NDArray[np.float32]


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
    bundle: Bundle,
    backend: Backend,
    store: ClipStore,
    clips: Sequence[Clip],
    indices: Sequence[int],
) -> EventSpec:
    """Thresholds from the clips at `indices`, streamed through `backend` one by one."""
    peaks = np.stack(
        [
            _peak_scores(config, bundle, backend, store[index])
            for index in track(indices, description="calibrating thresholds")
        ]
    )
    thresholds = {}
    for column, label in enumerate(bundle.manifest.labels):
        is_positive = np.array([label in clips[index].labels for index in indices])
        if threshold := choose_threshold(config, peaks[:, column], is_positive):
            thresholds[label] = threshold
    return EventSpec(
        smoothing_s=config.smoothing_s,
        min_on_s=config.min_on_s,
        min_off_s=config.min_off_s,
        thresholds=thresholds,
    )


def _peak_scores(
    config: CalibrationConfig, bundle: Bundle, backend: Backend, samples: FloatArray
) -> FloatArray:
    """f32[n_labels]: the highest score that would have started an event, that is smoothed and
    held for min_on_s."""
    step_s = bundle.manifest.model.step_s
    padded = np.pad(samples, (0, int(0.5 * bundle.manifest.model.frontend.sample_rate_hz)))
    scores = np.stack([row for _, row, _ in Tagger(bundle, backend).stream(padded)])
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
