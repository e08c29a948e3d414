"""What rules for thresholds bring of single clips: right and wrong events, on clips that chose
nothing.

Each rule has one number, which is set so that at most a tenth of the clips have a wrong event:

    python benchmarks/threshold_rules.py tiny-int8 distill/checkpoints/tiny-long.pt
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from distill.calibration.clip_evidence import ClipEvidence, hear_files
from distill.calibration.prices import PRICES, Columns, Shares, shares_left_out, spend
from distill.calibration.thresholds import CalibrationConfig, candidates, events_without
from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.held_out import calibration_clips
from distill.evaluation.models import ScoredModel, open_models
from distill.evaluation.strange_events import judged_labels
from distill.scoring.streams import open_stream_scorer

CONFIG = CalibrationConfig()
POINTS = candidates(CONFIG)
PULL = 3.0
"""What a label's own logistic fit costs, for each squared distance from all labels' together."""

Rule = Callable[[ClipEvidence], Callable[[float], Columns]]
"""Takes the clips to choose on, then the one number; the larger, the fewer events."""


def one_rate(evidence: ClipEvidence) -> Callable[[float], Columns]:
    """The lowest threshold at which a label is wrong in at most so large a share of the clips."""
    weights = evidence.weights[:, None] * ~evidence.fits / evidence.weights.sum()
    wrong = np.stack([(weights * (evidence.peaks >= point)).sum(0) for point in POINTS])

    def choose(strictness: float) -> Columns:
        keeps = wrong <= 10.0**-strictness
        return [int(x.argmax()) if x.any() else None for x in keeps.T]

    return choose


def one_threshold(evidence: ClipEvidence) -> Callable[[float], Columns]:
    """The same threshold for all labels."""
    n_labels = evidence.peaks.shape[1]
    return lambda on: [int(np.searchsorted(POINTS, min(on, POINTS[-1])))] * n_labels


def one_chance(evidence: ClipEvidence) -> Callable[[float], Columns]:
    """The threshold from which on a label is right with the same chance, by a logistic fit for each
    label that is drawn to that of all labels."""
    odds = np.clip(logit(np.clip(evidence.peaks, 1e-6, 1 - 1e-6)), -6.0, 6.0)
    weights, fits = evidence.weights[:, None], evidence.fits
    n_labels = odds.shape[1]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        (offset, slope), own = values[:2], values[2:].reshape(2, n_labels)
        z = offset + own[0] + (slope + own[1]) * odds
        error = weights * (expit(z) - fits)
        pulled = np.stack([error.sum(0), (error * odds).sum(0)])
        gradient = np.concatenate([pulled.sum(1), (pulled + PULL * own).ravel()])
        return float(
            (weights * (np.logaddexp(0.0, z) - fits * z)).sum() + PULL / 2 * (own**2).sum()
        ), gradient

    start = np.concatenate([[0.0, 1.0], np.zeros(2 * n_labels)])
    values = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    offsets, slopes = values[:2, None] + values[2:].reshape(2, n_labels)

    def choose(chance: float) -> Columns:
        ons = expit((logit(chance) - offsets) / np.maximum(slopes, 0.1))
        return [min(int(x), len(POINTS) - 1) for x in np.searchsorted(POINTS, ons)]

    return choose


def one_price(evidence: ClipEvidence) -> Callable[[float], Columns]:
    """What `calibrate` does."""
    lowest: Columns = [0] * evidence.peaks.shape[1]
    return lambda price: spend(POINTS, evidence, lowest, price)


RULES: dict[str, tuple[Rule, Sequence[float]]] = {
    "one rate of wrong clips per label": (one_rate, np.linspace(1.5, 5.0, 41).tolist()),
    "one threshold for all labels": (one_threshold, POINTS.tolist()),
    "one chance of being right": (one_chance, np.linspace(0.1, 0.98, 45).tolist()),
    "one price of wrong clips": (one_price, PRICES),
}


def evidence_of(
    model: ScoredModel, clips: Sequence[Clip]
) -> tuple[ClipEvidence, NDArray[np.bool_]]:
    """Of the clips that `calibrate` uses; and where a label is the highest of all in its clip."""
    folder, scorer = named_clip_list().parent, open_stream_scorer(model.scorer)
    chosen = [clip for clip in calibration_clips(model.recipe, clips) if clip.labels]
    spec = events_without(CONFIG, scorer.step_s)
    every = hear_files(scorer, scorer.labels, folder, chosen, CONFIG.n_folds, spec)
    columns = [scorer.labels.index(label) for label in judged_labels(scorer.labels, chosen)]
    is_highest = every.peaks == every.peaks.max(1, keepdims=True)
    mine = every._replace(peaks=every.peaks[:, columns], fits=every.fits[:, columns])
    return mine, is_highest[:, columns]


def within(evidence: ClipEvidence, rule: Rule, values: Sequence[float]) -> Shares:
    """By the lowest value that keeps the share of wrong clips, from the highest on."""
    folds = range(CONFIG.n_folds)
    choosers = [rule(evidence.rows(evidence.folds != fold)) for fold in folds]
    best = Shares(0.0, 0.0)
    for value in reversed(values):
        shares = shares_left_out(POINTS, evidence, [choose(value) for choose in choosers])
        if shares.wrong > CONFIG.max_wrong:
            break
        best = shares
    return best


@click.command()
@click.argument("targets", nargs=-1, required=True)
def main(targets: tuple[str, ...]) -> None:
    """Right and wrong clips by each rule, of checkpoints and bundles."""
    clips = read_clip_list(named_clip_list())
    for target in targets:
        (model,) = open_models(target)
        evidence, is_highest = evidence_of(model, clips)
        ranked = evidence._replace(peaks=np.where(is_highest, evidence.peaks, np.float32(0.0)))
        click.echo(f"{model.name}: {len(evidence.peaks)} clips, {evidence.peaks.shape[1]} labels")
        for name, (rule, values) in RULES.items():
            _tell(name, within(evidence, rule, values))
        _tell("and the label is the highest of all", within(ranked, one_price, PRICES))


def _tell(name: str, shares: Shares) -> None:
    click.echo(f"  {name}: right {100 * shares.right:.1f} %, wrong {100 * shares.wrong:.1f} %")


if __name__ == "__main__":
    main()
