"""The polyphonic sound detection score.

Bilen, Ferroni, Tuveri, Azcarreta, Krstulovic: A Framework for the Robust Evaluation of Sound
Event Detection, ICASSP 2020. Their own package psds_eval (0.5.3, the latest) runs with neither
numpy 2.4 nor pandas 3; the tests hold this module to what it computed with older ones.
sed_scores_eval (0.0.4) has no wheels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.metrics import Estimate, basic_interval, resample_groups
from edge_audio.bundle.spec import Spec

FloatArray = NDArray[np.float64]


class PsdsConfig(Spec, frozen=True):
    """detection_tolerance (rho_DTC): part of a detection that must lie in true events of its
    label, else it is false. truth_tolerance (rho_GTC): part of a true event that such detections
    must cover for it to be found. cross_tolerance (rho_CTTC): part of a false detection in
    events of another label that makes it a cross-trigger.
    cross_weight (alpha_CT): cost of cross-triggers. instability_weight (alpha_ST): cost of the
    deviation between labels. max_false_per_hour (e_max): end of the integral.
    """

    detection_tolerance: float
    truth_tolerance: float
    cross_tolerance: float = 0.3
    cross_weight: float = 0.0
    instability_weight: float = 1.0
    max_false_per_hour: float = 100.0


PSDS1 = PsdsConfig(detection_tolerance=0.7, truth_tolerance=0.7)
"""Scenario 1 of DCASE task 4: react fast, where the extent matters."""

PSDS2 = PsdsConfig(detection_tolerance=0.1, truth_tolerance=0.1, cross_weight=0.5)
"""Scenario 2: confuse no labels, the extent hardly matters."""


class Segments(NamedTuple):
    """Events of one label: scene i64[n], start_s and end_s f64[n], each longer than nothing."""

    scene: NDArray[np.int64]
    start_s: FloatArray
    end_s: FloatArray

    @classmethod
    def of(cls, rows: Sequence[tuple[int, float, float]]) -> Segments:
        """From (scene, start_s, end_s); those without length are left out."""
        kept = [row for row in rows if row[2] > row[1]]
        scene, start_s, end_s = zip(*kept, strict=True) if kept else ((), (), ())
        return cls(np.array(scene, np.int64), np.array(start_s, float), np.array(end_s, float))

    @property
    def length_s(self) -> FloatArray:
        """Length of each segment: f64[n]."""
        return self.end_s - self.start_s

    def select(self, mask: NDArray[np.bool_]) -> Segments:
        """The segments at which mask [n] is true."""
        return Segments(self.scene[mask], self.start_s[mask], self.end_s[mask])

    def overlap_s(self, other: Segments) -> FloatArray:
        """Common seconds [n, m]."""
        start_s = np.maximum(self.start_s[:, None], other.start_s)
        end_s = np.minimum(self.end_s[:, None], other.end_s)
        same = self.scene[:, None] == other.scene
        return np.where(same, np.maximum(end_s - start_s, 0.0), 0.0)

    def per_scene(self, n_scenes: int, weights: FloatArray | None = None) -> FloatArray:
        """Count, or sum of weights [n], in each scene."""
        return np.bincount(self.scene, weights, n_scenes).astype(float)


class _Counts(NamedTuple):
    """Of every label c and operating point p, by scene s: found true events and false detections
    [c, p, s], cross-triggers [c, p, other label, s]."""

    found: FloatArray
    false: FloatArray
    crossed: FloatArray


def psds(
    config: PsdsConfig,
    truth: Mapping[str, Segments],
    points: Mapping[str, Sequence[Segments]],
    durations_s: Sequence[float],
    seed: int,
) -> Estimate:
    """Between 0 and 1, over the labels of `truth`. points: each label's detections at each of
    its operating points, equally many for all. durations_s: of the scenes, which the interval
    resamples."""
    counts = _count(config, truth, points, len(durations_s))
    n_scenes = len(durations_s)
    n_true = np.stack([truth[label].per_scene(n_scenes) for label in truth])
    true_s = np.stack([truth[label].per_scene(n_scenes, truth[label].length_s) for label in truth])

    def score(weights: FloatArray) -> float:
        hours = float(weights @ np.asarray(durations_s)) / 3600.0
        found = counts.found @ weights / np.maximum(n_true @ weights, 1.0)[:, None]
        rate = _effective_rate(config, counts, weights, true_s, hours)
        return _area(config, found, rate, occurs=n_true @ weights > 0)

    rows = resample_groups([str(scene) for scene in range(n_scenes)], seed)
    resampled = np.array([score(row) for row in rows])
    return basic_interval(score(np.ones(n_scenes)), resampled, len(truth))


def _count(
    config: PsdsConfig,
    truth: Mapping[str, Segments],
    points: Mapping[str, Sequence[Segments]],
    n_scenes: int,
) -> _Counts:
    labels = list(truth)
    shape = (len(labels), len(points[labels[0]]))
    found, false = np.zeros((*shape, n_scenes)), np.zeros((*shape, n_scenes))
    crossed = np.zeros((*shape, len(labels), n_scenes))
    for c, label in enumerate(labels):
        for p, detections in enumerate(points[label]):
            own_s = detections.overlap_s(truth[label])
            is_right = own_s.sum(1) >= config.detection_tolerance * detections.length_s
            covered_s = own_s[is_right].sum(0)
            is_found = covered_s >= config.truth_tolerance * truth[label].length_s
            found[c, p] = truth[label].select(is_found).per_scene(n_scenes)
            wrong = detections.select(~is_right)
            false[c, p] = wrong.per_scene(n_scenes)
            if config.cross_weight:
                crossed[c, p] = _cross_triggers(config, wrong, truth, n_scenes)
        crossed[c, :, c] = 0.0
    return _Counts(found, false, crossed)


def _cross_triggers(
    config: PsdsConfig, wrong: Segments, truth: Mapping[str, Segments], n_scenes: int
) -> FloatArray:
    """How many of a label's false detections lie in events of each label, [n_labels, n_scenes]."""
    events = Segments(*(np.concatenate(parts) for parts in zip(*truth.values(), strict=True)))
    label_of = np.repeat(np.eye(len(truth)), [len(one.scene) for one in truth.values()], axis=0)
    common_s = wrong.overlap_s(events) @ label_of  # [n, n_labels]
    is_crossed = common_s >= config.cross_tolerance * wrong.length_s[:, None]
    in_scene = wrong.scene == np.arange(n_scenes)[:, None]
    crossed: FloatArray = is_crossed.T.astype(float) @ in_scene.T.astype(float)
    return crossed


def _effective_rate(
    config: PsdsConfig, counts: _Counts, weights: FloatArray, true_s: FloatArray, hours: float
) -> FloatArray:
    """False detections per hour, and cross-triggers per hour of the other label averaged over the
    other labels, [c, p]."""
    rate = counts.false @ weights / hours
    if not config.cross_weight:
        return rate
    other_hours = true_s @ weights / 3600.0
    known = other_hours > 0
    crossed = (counts.crossed @ weights)[:, :, known] / other_hours[known]
    n_others = np.maximum(known.sum() - known, 1)[:, None]
    rates: FloatArray = rate + config.cross_weight * crossed.sum(2) / n_others
    return rates


def _area(
    config: PsdsConfig, found: FloatArray, rate: FloatArray, occurs: NDArray[np.bool_]
) -> float:
    """Mean over 0..e_max of mean - alpha_ST * deviation of the labels' staircases, the highest
    share of found events [c, p] that each reaches at up to that rate [c, p]."""
    if not occurs.any():  # a resample without any event
        return 0.0
    end = config.max_false_per_hour
    edges = np.unique(np.append(rate[occurs][rate[occurs] < end], (0.0, end)))
    curves = []
    for shares, rates in zip(found[occurs], rate[occurs], strict=True):
        order = np.argsort(rates, kind="stable")
        best = np.maximum.accumulate(np.append(0.0, shares[order]))
        curves.append(best[np.searchsorted(rates[order], edges[:-1], side="right")])
    stacked = np.stack(curves)
    effective = stacked.mean(0) - config.instability_weight * stacked.std(0)
    return float((np.maximum(effective, 0.0) * np.diff(edges)).sum() / end)
