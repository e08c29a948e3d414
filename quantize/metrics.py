"""Figures that `edge-audio evaluate` measured, as manifest and card quote them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from distill.evaluate import HITS_AT, ModelReport, Report
from distill.metrics import Estimate
from edge_audio.errors import UsageError


def quote_metrics(path: Path) -> dict[str, str]:
    """metrics.json of `edge-audio evaluate` -> figure by name, every scored model in one line,
    with the command and what it was measured on.

    Raises UsageError if the file is missing or holds something else.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
        command = content.pop("command")
        report = msgspec.convert(content, Report)
    except (OSError, AttributeError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is no metrics.json of edge-audio evaluate: {error}") from error
    rows: dict[str, list[str]] = {}
    for model in report.models:
        for name, estimate in _figures(model).items():
            rows.setdefault(name, []).append(f"{model.name} {_percent(estimate)}")
    return {
        "measured by": "`" + " ".join(["edge-audio", *command[1:]]) + "`",
        "measured on": f"{report.n_clips} clips of {report.n_groups} recordings held out by the "
        f"recipe {report.recipe}, {report.n_esc_clips} of them ESC clips",
        **{name: "; ".join(values) for name, values in rows.items()},
    }


def _figures(model: ModelReport) -> dict[str, Estimate]:
    accuracy = {
        f"{name}, 5-fold accuracy of a logistic regression on {features}": folds.mean
        for name, kinds in (("ESC-50", model.esc50), ("ESC-10", model.esc10))
        for features, folds in kinds.items()
    }
    hits = {
        f"hit@{k} on {subset} clips": estimate
        for subset, estimates in model.hits.items()
        for k, estimate in zip(HITS_AT, estimates, strict=True)
    }
    mean = model.average_precision.mean
    return {**accuracy, **hits, f"mAP over {mean.n} classes": mean}


def _percent(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"
