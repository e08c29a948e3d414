"""How good, how late and how often wrong the events of a stream are."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from distill.calibration.scenes import is_in_time
from distill.evaluation.metrics import Estimate, basic_interval, resample_groups, wilson
from distill.mixing.soundscapes import TrueEvent
from distill.scoring.streams import Segment
from edge_audio.bundle.spec import Spec

SUDDEN = frozenset(
    {
        "Bark",
        "Clapping",
        "Cough",
        "Fireworks",
        "Gunshot, gunfire",
        "Knock",
        "Shatter",
        "Slam",
        "Sneeze",
        "Tick",
    }
)
"""Labels of impulsive sounds, which are all there at once."""


class EventF1(Spec, frozen=True):
    """Event-based F1 with an onset collar (Mesaros, Heittola, Virtanen 2016, Metrics for
    Polyphonic Sound Event Detection). micro: over all events; macro: mean over the labels."""

    collar_s: float
    micro: Estimate
    macro: Estimate


class Latency(Spec, frozen=True):
    """Of the events that were found: seconds of audio from the true onset until the start was
    reported, in `values_s` rising; None if none was. Computing time comes on top."""

    found: Estimate
    median_s: float | None
    p95_s: float | None
    values_s: tuple[float, ...]


class FalseAlarms(Spec, frozen=True):
    """Starts reported where the label cannot be expected, in `hours` of audio. total: per hour,
    all labels together; each: per hour and label that is on; labels: of those; n_over: of how many
    that is more than the budget."""

    hours: float
    total: Estimate
    each: Estimate
    labels: dict[str, float]
    n_over: int


def event_f1(
    truth: Sequence[Sequence[TrueEvent]],
    found: Sequence[Sequence[Segment]],
    labels: Sequence[str],
    collar_s: float,
    lag_s: float,
    seed: int,
) -> EventF1:
    """Over scenes. An event is right if its start, moved back by the model's lag_s, lies within
    collar_s of a true onset of its label; each onset is matched once, as many as possible. The
    intervals resample scenes."""
    counts = np.array(
        [
            _count_matches(true, events, labels, collar_s, lag_s)
            for true, events in zip(truth, found, strict=True)
        ]
    )
    weights = resample_groups([str(scene) for scene in range(len(counts))], seed)
    micro, macro = _f1_scores(np.ones((1, len(counts))), counts)
    all_micro, all_macro = _f1_scores(weights, counts)
    n_events, n_labels = int(counts[:, :, 1].sum()), int(counts[:, :, 1].any(0).sum())
    return EventF1(
        collar_s=collar_s,
        micro=basic_interval(float(micro[0]), all_micro, n_events),
        macro=basic_interval(float(macro[0]), all_macro, n_labels),
    )


def _f1_scores(
    weights: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Micro and macro F1 [R] under every row of scene weights [R, n_scenes]; counts [n_scenes,
    n_labels, 3] are right, true and reported events. Labels without true events do not count
    in the macro mean."""
    right, true, reported = np.moveaxis(np.tensordot(weights, counts, 1), 2, 0)  # [R, n_labels]
    micro = 2.0 * right.sum(1) / np.maximum(true.sum(1) + reported.sum(1), 1.0)
    by_label = 2.0 * right / np.maximum(true + reported, 1.0)
    occurs = true > 0
    macro = (by_label * occurs).sum(1) / np.maximum(occurs.sum(1), 1)
    return micro, macro


def _count_matches(
    truth: Sequence[TrueEvent],
    found: Sequence[Segment],
    labels: Sequence[str],
    collar_s: float,
    lag_s: float,
) -> list[tuple[float, float, float]]:
    """(right, true, reported) for every label of one scene."""
    reference = [_item(event.label, event.onset_s, event.offset_s) for event in truth]
    estimated = [_item(one.label, one.start_s - lag_s, one.end_s - lag_s) for one in found]
    metrics = _import_sed_eval().sound_event.EventBasedMetrics(
        list(labels), evaluate_offset=False, t_collar=collar_s
    )
    metrics.evaluate(reference, estimated)
    by_label = metrics.class_wise
    return [tuple(by_label[name][key] for key in ("Ntp", "Nref", "Nsys")) for name in labels]


def _item(label: str, onset_s: float, offset_s: float) -> dict[str, Any]:
    return {"event_label": label, "onset": onset_s, "offset": offset_s}


def _import_sed_eval() -> Any:
    with warnings.catch_warnings():  # dcase_util uses pkg_resources, which warns of its end
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        import sed_eval
    return sed_eval


def onset_latency(
    truth: Sequence[Sequence[TrueEvent]],
    found: Sequence[Sequence[Segment]],
    labels: Collection[str] = (),
) -> Latency:
    """Of the events of these labels, or of all. An event is found by the first start of its label
    that is reported between its onset and LATENESS_S after its offset. A label that sounded on
    from before does not find it."""
    values_s: list[float] = []
    n_events = 0
    for events, segments in zip(truth, found, strict=True):
        for event in events:
            if labels and event.label not in labels:
                continue
            n_events += 1
            late_s = min(
                (
                    segment.seen_s - event.onset_s
                    for segment in segments
                    if segment.label == event.label and is_in_time(event, segment.seen_s)
                ),
                default=None,
            )
            if late_s is not None:
                values_s.append(round(late_s, 3))
    return Latency(
        found=wilson(len(values_s), n_events),
        median_s=float(np.median(values_s)) if values_s else None,
        p95_s=float(np.percentile(values_s, 95)) if values_s else None,
        values_s=tuple(sorted(values_s)),
    )


def false_alarms(
    alarms: Iterable[str], label_hours: Mapping[str, float], hours: float, budget: float
) -> FalseAlarms:
    """alarms: the label of each; label_hours: of the labels that are on, how long each could
    have been wrong. Rates with the exact Poisson interval (Garwood 1936)."""
    counts = Counter(alarms)
    rates = {label: counts[label] / on_h for label, on_h in label_hours.items()}
    n = sum(counts.values())
    return FalseAlarms(
        hours=hours,
        total=_rate(n, hours),
        each=_rate(n, sum(label_hours.values())),
        labels=rates,
        n_over=sum(rate > budget for rate in rates.values()),
    )


def _rate(n: int, hours: float) -> Estimate:
    """Alarms per hour with their interval; 0 where there are no hours."""
    if not hours:
        return Estimate(value=0.0, low=0.0, high=0.0, n=0)
    low = float(chi2.ppf(0.025, 2 * n)) / 2.0 if n else 0.0
    high = float(chi2.ppf(0.975, 2 * n + 2)) / 2.0
    return Estimate(value=n / hours, low=low / hours, high=high / hours, n=n)
