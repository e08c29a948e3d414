"""An evaluation as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.table import Table

from distill.evaluate import HITS_AT, ModelReport, Report
from distill.metrics import MIN_POSITIVES, Estimate, FoldAccuracy

Cell = Callable[[ModelReport], str]
_SETS = {"all": "all held-out clips", "ESC": "ESC clips", "other": "other clips"}


def describe(report: Report) -> str:
    """What was scored, and why it may be: printed above the table."""
    return (
        f"{report.n_clips} held-out clips in {report.n_groups} groups, {report.n_esc_clips} of "
        f"them ESC; recipe {report.recipe} trains on {report.n_training_clips} clips, none of "
        f"them from these groups.\n"
        f"hit@k and mAP: {report.n_labels} labels known to all models; {report.n_unlabelled} "
        f"clips have none of them and are skipped; a clip's score is the maximum over its steps "
        f"(mn: clip logits; YAMNet: mean over its windows).\n"
        f"LR: logistic regression on standardised features, C = {report.regression_c:g}, "
        f"official folds; embedding and scores (log-odds) pooled by mean and maximum over steps."
    )


def to_table(report: Report) -> Table:
    """One column per model, one row per figure: per cent, with 95 % confidence intervals."""
    table = Table(caption="per cent (95 % interval)")
    table.add_column("")
    for model in report.models:
        table.add_column(model.name, justify="right")
    for title, cell in _rows(report):
        table.add_row(title, *(cell(model) for model in report.models))
    return table


def _rows(report: Report) -> Iterator[tuple[str, Cell]]:
    for title, field in (("ESC-50", "esc50"), ("ESC-10", "esc10")):
        for features in ("embedding", "scores"):
            if any(features in getattr(model, field) for model in report.models):
                yield f"{title}, LR on {features}", _mean_cell(field, features)
                yield "  folds 1-5", _folds_cell(field, features)
    for position, k in enumerate(HITS_AT):
        for name, clips in _SETS.items():
            if estimates := report.models[0].hits.get(name):
                yield f"hit@{k}, {clips} ({estimates[0].n})", _hit_cell(name, position)
    n_classes = report.models[0].average_precision.mean.n
    title = f"mAP, {n_classes} classes with >= {MIN_POSITIVES} clips"
    yield title, lambda model: _format(model.average_precision.mean)


def _mean_cell(field: str, features: str) -> Cell:
    def cell(model: ModelReport) -> str:
        result: FoldAccuracy | None = getattr(model, field).get(features)
        return _format(result.mean) if result else "-"

    return cell


def _folds_cell(field: str, features: str) -> Cell:
    def cell(model: ModelReport) -> str:
        result: FoldAccuracy | None = getattr(model, field).get(features)
        return " ".join(f"{100 * fold:.1f}" for fold in result.folds) if result else ""

    return cell


def _hit_cell(name: str, position: int) -> Cell:
    return lambda model: _format(model.hits[name][position])


def _format(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.1f}-{100 * estimate.high:.1f})"
