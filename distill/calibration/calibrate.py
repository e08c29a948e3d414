"""The thresholds of a model, from the clips that its recipe held out and with witnesses where there
are any."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from distill.calibration.adjudication import (
    Verdicts,
    Witness,
    count_confirmed,
    hear_moments,
    judge,
    judged_starts,
    moment_of,
    without,
    write_moments,
)
from distill.calibration.clip_evidence import ClipEvidence, hear_folds
from distill.calibration.prices import Pair
from distill.calibration.scenes import Fold, fold_sounds, score_scenes
from distill.calibration.sweeps import Sweep
from distill.calibration.thresholds import (
    CalibrationConfig,
    choose_events,
    choose_pairs,
    clip_recalls,
    clip_shares,
    count_recordings,
    events_without,
    frequent_labels,
    run_sweeps,
)
from distill.calibration.unlabelled import with_unlabelled
from distill.data.clip_list import Clip
from distill.data.companions import find_companions
from distill.mixing.soundscapes import Scene, negatives
from distill.progress import tracked
from distill.scoring.streams import StreamScorer
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity, WhyOff

N_MOMENTS = 60
"""How many confirmed moments of each fold are written to listen to, at most."""


class Calibration(NamedTuple):
    """events: the thresholds. facts: what a manifest says of how false alarms were judged; none
    without witnesses. clips: see `facts_of_clips`."""

    events: EventSpec
    facts: dict[str, Any]
    clips: dict[str, Any]


def calibrate(
    config: CalibrationConfig,
    scorer: StreamScorer,
    folder: Path,
    chosen: Sequence[Clip],
    clips: Sequence[Clip],
    witnesses: Sequence[Witness] = (),
    moments_dir: Path | None = None,
) -> Calibration:
    """Thresholds from the `chosen` clips; `clips` is the whole clip list.

    witnesses: those who judge false alarms, the first of whom also says what clips without labels
    lack. moments_dir: gets some of the moments that they confirm, as WAV. Raises UsageError if the
    clips are too few for any label.
    """
    folds = fold_sounds(folder, chosen, config.n_folds)
    n_recordings = frequent_labels(config, scorer.labels, folds)
    labels = tuple(n_recordings)
    (scored,) = score_scenes([scorer], labels, folds, config.scenes, config.seed)
    if witnesses:
        scored = with_unlabelled(scorer, witnesses[0], labels, folder, chosen, scored)
    progress = tracked(scored, "trying thresholds")
    companions = find_companions(clips, labels)
    sweeps = list(run_sweeps(config, scorer.step_s, labels, progress, companions))
    verdicts = hear_witnesses(config, witnesses, labels, folds, sweeps) if witnesses else None
    judged = without_confirmed(sweeps, verdicts) if verdicts else sweeps
    evidence = hear_folds(scorer, labels, folds, events_without(config, scorer.step_s))
    pairs = choose_pairs(config, n_recordings, judged, evidence)
    events = choose_events(config, scorer.step_s, n_recordings, judged, pairs, evidence)
    clips_said = facts_of_clips(n_recordings, judged, evidence, pairs, events)
    off = {**events.off, **_few(count_recordings(scorer.labels, folds), n_recordings)}
    events = msgspec.structs.replace(events, off=off)
    if verdicts is None:
        return Calibration(events, {}, clips_said)
    if moments_dir is not None:
        _write_moments(config, moments_dir, labels, folds, sweeps, verdicts)
    return Calibration(events, facts_of(labels, sweeps, verdicts, events), clips_said)


def _few(counts: Mapping[str, int], judged: Container[str]) -> dict[str, WhyOff]:
    """The reason for labels that were recorded, but too rarely to judge them."""
    return {label: "few recordings" for label in counts if label not in judged}


def fold_negatives(config: CalibrationConfig, fold: Fold, index: int) -> Iterator[Scene]:
    """The negative scenes of a fold once more."""
    return negatives(config.scenes, fold.clips, (config.seed, index))


def hear_witnesses(
    config: CalibrationConfig,
    witnesses: Sequence[Witness],
    labels: Sequence[str],
    folds: Sequence[Fold],
    sweeps: Sequence[Sweep],
) -> Verdicts:
    """Lets the witnesses hear the composed negatives where a sweep has false alarms."""
    heard = []
    for index, (fold, one) in enumerate(zip(folds, sweeps, strict=True)):
        moments = {moment_of(one.starts[i]) for i in judged_starts(one)}
        scenes = tracked(
            fold_negatives(config, fold, index),
            f"fold {index + 1}: witnesses",
            config.scenes.n_negatives,
        )
        heard.append(hear_moments(witnesses, labels, scenes, moments))
    return judge(sweeps, heard)


def without_confirmed(sweeps: Sequence[Sweep], verdicts: Verdicts) -> list[Sweep]:
    """The sweeps less what witnesses confirmed."""
    pairs = zip(sweeps, verdicts.confirmed, strict=True)
    return [without(one, confirmed) for one, confirmed in pairs]


def facts_of(
    labels: Sequence[str], sweeps: Sequence[Sweep], verdicts: Verdicts, events: EventSpec
) -> dict[str, Any]:
    """What a manifest says of the verdicts: starts at the thresholds of each sensitivity where no
    list names the label, and how many of them both witnesses confirm; of `normal` by label."""
    facts: dict[str, Any] = {"level": verdicts.level, "by_chance": round(verdicts.by_chance, 4)}
    for sensitivity in SENSITIVITIES:
        thresholds = events.at_sensitivity(sensitivity).thresholds
        on = {label: threshold.on for label, threshold in thresholds.items()}
        counts = count_confirmed(labels, sweeps, verdicts, on)
        n_starts, n_confirmed = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
        facts[sensitivity] = {"starts": n_starts, "confirmed": n_confirmed}
        if sensitivity == "normal":
            facts["labels"] = {label: list(pair) for label, pair in counts.items() if pair[1]}
    return facts


def facts_of_clips(
    n_recordings: Mapping[str, int],
    sweeps: Sequence[Sweep],
    evidence: ClipEvidence,
    pairs: Mapping[Sensitivity, Pair],
    events: EventSpec,
) -> dict[str, Any]:
    """What a manifest says of single clips: for each sensitivity the shares with a right event and
    with a wrong one, and of each label that is on the share of clips that it fits in which it is
    reported, by thresholds that were chosen without the clip's fold."""
    facts: dict[str, Any] = {"clips": len(evidence.peaks)}
    for sensitivity, (_, left_out) in pairs.items():
        on = events.at_sensitivity(sensitivity).thresholds
        shares = clip_shares(n_recordings, sweeps, evidence, left_out, on)
        recalls = zip(n_recordings, clip_recalls(sweeps, evidence, left_out), strict=True)
        facts[sensitivity] = {
            **{name: round(x, 3) for name, x in shares._asdict().items()},
            "labels": {label: round(float(x), 3) for label, x in recalls if label in on},
        }
    return facts


def _write_moments(
    config: CalibrationConfig,
    moments_dir: Path,
    labels: Sequence[str],
    folds: Sequence[Fold],
    sweeps: Sequence[Sweep],
    verdicts: Verdicts,
) -> None:
    """A sample of the confirmed moments, every label at the highest threshold that it has there."""
    for index, (fold, one) in enumerate(zip(folds, sweeps, strict=True)):
        pairs = zip(one.starts, verdicts.confirmed[index], strict=True)
        by_moment = {(moment_of(x), x.row): x for x, is_right in pairs if is_right}
        starts = list(by_moment.values())
        rng = np.random.default_rng((config.seed, index))
        kept = rng.permutation(len(starts))[:N_MOMENTS]
        folder = moments_dir / f"fold-{index + 1}"
        scenes = fold_negatives(config, fold, index)
        write_moments(folder, labels, scenes, [starts[i] for i in kept])
