"""Events of single clips as a table."""

from __future__ import annotations

from rich.table import Table

from distill.evaluation.events import EventResults
from distill.evaluation.tables import format_estimate
from edge_audio.support.text import printable

MIN_CLIPS = 8
"""Labels with fewer clips have no row of their own."""

_SHARES = {
    "any event": "any_event",
    "right": "right",
    "wrong": "wrong",
    "unexpected": "unexpected",
}


def describe(results: EventResults) -> str:
    """What was measured: printed above the table."""
    first = results.models[0]
    return (
        f"{first.n_clips} held-out clips, each a stream of its own, at the sensitivity "
        f"{first.sensitivity}. Right: a label of the clip or a related one; wrong: any "
        "other; unexpected: one that stands beside none of the clip's labels in any other clip "
        "either."
    )


def describe_left_out(results: EventResults, where: str) -> str:
    """What was measured by thresholds that other recordings chose: printed above the table."""
    first = results.models[0]
    return (
        f"{first.n_clips} {where}, each a stream of its own, by thresholds that other recordings "
        f"bring at the sensitivity {first.sensitivity}, for everybody by the share of wrong clips."
    )


def to_table(results: EventResults) -> Table:
    """One column per model: per cent of the clips, then of the clips of each label those in which
    it is found."""
    table = Table(caption="per cent of clips (95 % interval); then found of the clips of a label")
    table.add_column("")
    for model in results.models:
        table.add_column(printable(model.name), justify="right")
    for title, field in _SHARES.items():
        table.add_row(title, *(format_estimate(getattr(x, field)) for x in results.models))
    for label, counts in results.models[0].labels.items():
        if counts.n_clips >= MIN_CLIPS:
            mine = [model.labels[label] for model in results.models]
            table.add_row(printable(label), *(f"{x.n_found} of {x.n_clips}" for x in mine))
    return table
