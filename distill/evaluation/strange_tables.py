"""Strange places as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.table import Table

from distill.evaluation.metrics import Estimate
from distill.evaluation.results import HITS_AT
from distill.evaluation.strange_results import (
    MIN_POSITIVES,
    StrangeFigures,
    StrangeModel,
    StrangeResults,
)
from distill.evaluation.tables import format_estimate
from edge_audio.support.text import printable

Pick = Callable[[StrangeFigures], Estimate | None]
HEARD = "heard"


def describe(results: StrangeResults) -> str:
    """What was scored, and what nobody knows: printed above the table."""
    lines = [
        f"Clips of strange sources with any of the {results.n_labels} labels known to all models; "
        "a clip's score is the maximum over its steps (mn: clip logits; YAMNet: mean over its "
        f"windows). mAP: over classes with at least {MIN_POSITIVES} clips, among these clips "
        "alone, which is easy where they are few. Intervals resample recordings.",
        f"{HEARD}: by the clip list as it is, its recipe, or one of what it went on from, trains "
        "on some of the source.",
    ]
    for model in results.models:
        if model.untraced:
            missing = ", ".join(map(printable, model.untraced))
            lines.append(
                f"{printable(model.name)} went on from, or learned from, {missing}: not here, so "
                "what that has heard is not known."
            )
    return "\n".join(lines)


def to_table(results: StrangeResults) -> Table:
    """One column per model, and rows for each set of clips: per cent, with 95 % intervals."""
    table = Table(caption="per cent (95 % interval)")
    table.add_column("", no_wrap=True)
    for model in results.models:
        table.add_column(printable(model.name), justify="right")
    for name, scored in results.sets.items():
        title = f"{name}: {scored.n_clips:,} clips, {scored.n_groups:,} recordings"
        nobody = all(name not in model.figures for model in results.models)
        table.add_row(title, *(HEARD if nobody else "" for _ in results.models))
        for row, pick in _rows(results, name):
            table.add_row(f"  {row}", *(_cell(model, name, pick) for model in results.models))
    return table


def _rows(results: StrangeResults, name: str) -> Iterator[tuple[str, Pick]]:
    known = [model.figures[name] for model in results.models if name in model.figures]
    if not known:
        return
    for position, k in enumerate(HITS_AT):
        yield f"hit@{k}", _hit_at(position)
    precision = known[0].average_precision
    if precision:
        yield f"mAP, {precision.mean.n} classes", _mean_average_precision
    yield "lwlrap", lambda figures: figures.lwlrap


def _hit_at(position: int) -> Pick:
    return lambda figures: figures.hits[position]


def _mean_average_precision(figures: StrangeFigures) -> Estimate | None:
    return figures.average_precision.mean if figures.average_precision else None


def _cell(model: StrangeModel, name: str, pick: Pick) -> str:
    if name not in model.figures:
        return HEARD
    estimate = pick(model.figures[name])
    return format_estimate(estimate) if estimate else "-"
