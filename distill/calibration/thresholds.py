"""Event thresholds for stated rates of false alarms: the same way for every model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from distill.calibration.clip_evidence import ClipEvidence
from distill.calibration.prices import (
    Columns,
    Pair,
    Shares,
    choose_by_price,
    reported_left_out,
    shares_left_out,
    stricter,
)
from distill.calibration.scenes import Fold, SceneScores
from distill.calibration.sweeps import Sweep, sweep
from distill.data.companions import Companions
from distill.mixing.soundscapes import SoundscapeConfig
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity, Spec, Threshold, WhyOff
from edge_audio.errors import UsageError
from edge_audio.events.operating_points import (
    ALARMS_PER_HOUR,
    WRONG_SHARE,
    choose_columns,
)
from edge_audio.events.suggestion import HYSTERESIS
from edge_audio.events.sweep import Counts

N_THRESHOLDS = 48
"""Candidate thresholds, evenly spaced in log-odds."""

_HIGHEST = 0.998


class CalibrationConfig(Spec, frozen=True):
    """smoothing_s, attack_s, min_on_s, min_off_s: see EventSpec. Chosen on other soundscapes
        (seed 7) than those that evaluate scores.

    max_alarms_per_hour: what a label may report at `normal`, on average over the labels and on
        recordings it was not chosen on, where it cannot be expected; the other sensitivities are
        in proportion (ALARMS_PER_HOUR).
    max_wrong: share of single clips that may have a wrong event of any label at `normal`; the
        others again in proportion (WRONG_SHARE).
    min_recall: labels that find a smaller share of their events within that are off.
    min_positives: so are labels with fewer recordings.
    min_on: no threshold is lower.
    scenes: what is composed of each of n_folds parts of the recordings; together their negatives
        should last some times the hours in which one alarm is allowed.
    """

    smoothing_s: float = 0.24
    attack_s: float | None = 0.0
    min_on_s: float = 0.0
    min_off_s: float = 0.4
    max_alarms_per_hour: float = ALARMS_PER_HOUR["normal"]
    max_wrong: float = WRONG_SHARE["normal"]
    min_recall: float = 0.1
    min_positives: int = 2
    min_on: float = 0.02
    n_folds: int = 4
    seed: int = 0
    scenes: SoundscapeConfig = SoundscapeConfig()

    def __post_init__(self) -> None:
        if self.n_folds < 3:
            raise ValueError("need at least 3 folds: one to score, one to choose on, one to check")

    def alarms_per_hour(self, sensitivity: Sensitivity) -> float:
        """What a label may report at a sensitivity."""
        share = ALARMS_PER_HOUR[sensitivity] / ALARMS_PER_HOUR["normal"]
        return share * self.max_alarms_per_hour

    def wrong_share(self, sensitivity: Sensitivity) -> float:
        """The share of single clips that may have a wrong event at a sensitivity."""
        return WRONG_SHARE[sensitivity] / WRONG_SHARE["normal"] * self.max_wrong


def count_recordings(labels: Sequence[str], folds: Sequence[Fold]) -> dict[str, int]:
    """Of each label that sounds in any clip: how many recordings have a bout of it."""
    found: dict[str, set[object]] = defaultdict(set)
    for fold in folds:
        for label in {label for clip in fold.clips for label in clip.labels}:
            found[label].update(())
        for bout in fold.bouts:
            for label in bout.labels:
                found[label].add(bout.recording or id(bout))
    return {label: len(found[label]) for label in labels if label in found}


def frequent_labels(
    config: CalibrationConfig, labels: Sequence[str], folds: Sequence[Fold]
) -> dict[str, int]:
    """Label -> the number of recordings with a bout of it, for labels with enough of them. Raises
    UsageError if there are none."""
    counts = count_recordings(labels, folds)
    kept = {label: n for label, n in counts.items() if n >= config.min_positives}
    if not kept:
        raise UsageError(
            f"no label has {config.min_positives} recordings that the recipe held out: thresholds "
            "cannot be chosen"
        )
    return kept


def choose_events(
    config: CalibrationConfig,
    step_s: float,
    n_recordings: Mapping[str, int],
    sweeps: Sequence[Sweep],
    pairs: Mapping[Sensitivity, Pair],
    evidence: ClipEvidence | None = None,
) -> EventSpec:
    """Thresholds of all sensitivities, of those labels that find enough at each. n_recordings: of
    each label, row by row of the sweeps, how many are behind all folds. pairs: see
    `choose_pairs`."""
    chosen = {
        sensitivity: choose_thresholds(config, n_recordings, sweeps, pairs[sensitivity], evidence)
        for sensitivity in SENSITIVITIES
    }
    loosest = _columns(n_recordings, sweeps, config.alarms_per_hour("eager"))
    off: dict[str, WhyOff] = {
        label: "too many false alarms" if column is None else "rarely found"
        for label, column in zip(n_recordings, loosest, strict=True)
        if label not in chosen["eager"]
    }
    normal = chosen.pop("normal")
    plain = events_without(config, step_s)
    return msgspec.structs.replace(plain, thresholds=normal, sensitivities=chosen, off=off)


def choose_pairs(
    config: CalibrationConfig,
    n_recordings: Mapping[str, int],
    sweeps: Sequence[Sweep],
    evidence: ClipEvidence | None = None,
) -> dict[Sensitivity, Pair]:
    """Columns of the sweeps' points for each sensitivity: those that keep the rate of false alarms,
    and, with evidence, no lower ones that also keep the share of wrong clips. No label has a
    lower one than at a sensitivity that reports more."""
    pairs: dict[Sensitivity, Pair] = {}
    looser: Pair | None = None
    for sensitivity in reversed(SENSITIVITIES):
        rate = config.alarms_per_hour(sensitivity)
        pair: Pair = (
            _columns(n_recordings, sweeps, rate),
            [_columns(n_recordings, others, rate) for _, others in leave_one_out(sweeps)],
        )
        if evidence is not None:
            lowest = pair if looser is None else _stricter(pair, looser)
            max_wrong = config.wrong_share(sensitivity)
            pair = _choose_by_clips(config, sweeps, evidence, lowest, max_wrong)
        pairs[sensitivity] = looser = pair
    return pairs


def _choose_by_clips(
    config: CalibrationConfig,
    sweeps: Sequence[Sweep],
    evidence: ClipEvidence,
    lowest: Pair,
    max_wrong: float,
) -> Pair:
    """Twice: what labels that find too little would spend goes to the others."""
    points = sweeps[0].points
    _, left_out = choose_by_price(points, evidence, lowest, max_wrong)
    is_on = (found_shares(sweeps, left_out, evidence) >= config.min_recall).tolist()
    kept = _off_unless(is_on, lowest[0]), [_off_unless(is_on, mine) for mine in lowest[1]]
    return choose_by_price(points, evidence, kept, max_wrong)


def _stricter(first: Pair, second: Pair) -> Pair:
    left_out = [stricter(*both) for both in zip(first[1], second[1], strict=True)]
    return stricter(first[0], second[0]), left_out


def events_without(config: CalibrationConfig, step_s: float) -> EventSpec:
    """Smoothing and durations for a model that scores every step_s. min_on_s is counted in whole
    steps: one score of a long window tells more than min_on_s already."""
    return EventSpec(
        smoothing_s=config.smoothing_s,
        attack_s=config.attack_s,
        min_on_s=round(config.min_on_s / step_s) * step_s,
        min_off_s=config.min_off_s,
    )


def choose_thresholds(
    config: CalibrationConfig,
    n_recordings: Mapping[str, int],
    sweeps: Sequence[Sweep],
    pair: Pair,
    evidence: ClipEvidence | None = None,
) -> dict[str, Threshold]:
    """The thresholds in the columns of a pair, of labels that find enough in each sweep, or in the
    clips of its fold, by what is chosen without it. What they do in the sweeps is what they are
    said to bring."""
    columns, left_out = pair
    n_events = np.sum([one.n_events for one in sweeps], axis=0)
    hours = np.sum([one.hours for one in sweeps], axis=0)
    shares = found_shares(sweeps, left_out)
    best = shares if evidence is None else found_shares(sweeps, left_out, evidence)
    counts = zip(sweeps, left_out, strict=True)
    alarms = np.sum([_at(one.alarms, mine) for one, mine in counts], axis=0)
    return {
        label: Threshold(
            on=(on := round(float(sweeps[0].points[column]), 4)),
            off=round(HYSTERESIS * on, 4),
            alarms_per_hour=round(float(alarms[row] / hours[row]), 3),
            negative_h=round(float(hours[row]), 1),
            recall=round(float(shares[row]), 3),
            n_positives=n,
        )
        for row, ((label, n), column) in enumerate(zip(n_recordings.items(), columns, strict=True))
        if column is not None and n_events[row] and best[row] >= config.min_recall
    }


def found_shares(
    sweeps: Sequence[Sweep], left_out: Sequence[Columns], evidence: ClipEvidence | None = None
) -> NDArray[np.float64]:
    """f64[n_labels]: the share of its events that a label finds in each sweep by what is chosen
    without it; or, if that is more, of the clips that it fits those in which it is reported."""
    pairs = zip(sweeps, left_out, strict=True)
    found = np.sum([_at(one.found, mine) for one, mine in pairs], axis=0)
    n_events = np.sum([one.n_events for one in sweeps], axis=0)
    shares: NDArray[np.float64] = found / np.maximum(n_events, 1)
    if evidence is None:
        return shares
    return np.maximum(shares, clip_recalls(sweeps, evidence, left_out))


def clip_recalls(
    sweeps: Sequence[Sweep], evidence: ClipEvidence, left_out: Sequence[Columns]
) -> NDArray[np.float64]:
    """f64[n_labels]: of the clips that a label fits, those in which it is reported by what is
    chosen without their fold."""
    reported = reported_left_out(sweeps[0].points, evidence, left_out) & evidence.fits
    recalls: NDArray[np.float64] = reported.sum(0) / np.maximum(evidence.fits.sum(0), 1)
    return recalls


def _at(counts: Counts, columns: Columns) -> Counts:
    """i64[n_labels]: the count of each label in its column, 0 where it is off."""
    return np.array(
        [0 if x is None else mine[x] for mine, x in zip(counts, columns, strict=True)], np.int64
    )


def _off_unless(is_on: Iterable[bool], columns: Columns) -> list[int | None]:
    return [x if on else None for x, on in zip(columns, is_on, strict=True)]


def clip_shares(
    n_recordings: Mapping[str, int],
    sweeps: Sequence[Sweep],
    evidence: ClipEvidence,
    left_out: Sequence[Columns],
    on: Container[str],
) -> Shares:
    """Shares of clips by what is chosen without their fold, of the labels that are on."""
    is_on = [label in on for label in n_recordings]
    kept = [_off_unless(is_on, mine) for mine in left_out]
    return shares_left_out(sweeps[0].points, evidence, kept)


def leave_one_out(sweeps: Sequence[Sweep]) -> Iterator[tuple[Sweep, list[Sweep]]]:
    """Pairs of each sweep and all others."""
    for index, one in enumerate(sweeps):
        yield one, [*sweeps[:index], *sweeps[index + 1 :]]


def run_sweeps(
    config: CalibrationConfig,
    step_s: float,
    labels: Sequence[str],
    scored: Iterable[SceneScores],
    companions: Companions,
) -> Iterator[Sweep]:
    """A sweep of each fold over the candidate thresholds."""
    spec = events_without(config, step_s)
    points = candidates(config)
    return (sweep(points, spec, step_s, labels, one, companions) for one in scored)


def candidates(config: CalibrationConfig) -> NDArray[np.float64]:
    """The thresholds that are tried, rising."""
    return np.asarray(expit(np.linspace(logit(config.min_on), logit(_HIGHEST), N_THRESHOLDS)))


def _columns(
    n_recordings: Mapping[str, int], sweeps: Sequence[Sweep], alarms_per_hour: float
) -> list[int | None]:
    alarms: Counts = np.sum([one.alarms for one in sweeps], axis=0)
    hours = np.sum([one.hours for one in sweeps], axis=0)
    labels, counts = list(n_recordings), list(n_recordings.values())
    return choose_columns(labels, sweeps[0].points, alarms, hours, counts, alarms_per_hour)
