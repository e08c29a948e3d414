"""`edge-audio teachers`. Torch is imported only once it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_audio.cli.console import plain_console, tell
from edge_audio.cli.options import FiniteRange
from edge_audio.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

_WORDS = {"kind", "size", "system", "published files", "weights"}


@click.command()
@click.argument("kind", required=False)
@click.option(
    "--tflops",
    type=FiniteRange(0.0, min_open=True),
    default=20.0,
    show_default=True,
    help="What your accelerator sustains, for the column of times real time.",
)
@click.option(
    "--hours",
    type=FiniteRange(0.0, min_open=True),
    help="Hours of audio to be heard; the last column says in how many a teacher does.",
)
def teachers(kind: str | None, tflops: float, hours: float | None) -> None:
    """List teachers that can be loaded: published files, licences, cost.

    With KIND, such as beats, all that is known of one: its files, and what a recipe says of it.
    Memory is that of the weights and of 8 clips of 10 s in float32; nothing is downloaded.
    """
    from distill.teachers.listing import (
        COST_COLUMNS,
        FILE_COLUMNS,
        HOURS_COLUMN,
        cost_rows,
        file_rows,
        other_row,
    )

    columns = COST_COLUMNS if hours is None else (*COST_COLUMNS, HOURS_COLUMN)
    console, only = plain_console(), [kind] if kind else []
    if kind and (row := other_row(kind)):
        console.print(_table(FILE_COLUMNS, [row]))
        tell("what a recipe says of it: docs/training.md, Teachers")
        return
    if kind:
        _describe(kind)
    else:
        console.print(_table(FILE_COLUMNS, file_rows()))
        tell("")
    console.print(_table(columns, cost_rows(tflops, only, hours)))
    tell(f"memory: weights and 8 clips of 10 s, float32; x real time: at {tflops:g} TFLOP/s")
    if not kind:
        tell("edge-audio teachers KIND tells the paper, and what a recipe says")


def _describe(kind: str) -> None:
    from distill.teachers.listing import recipe_of
    from distill.teachers.published.registry import system_of

    system = system_of(kind)
    card = system.card
    settings = ", ".join(f"{name} = {value}" for name, value in system.defaults.items())
    tell(f"{card.title}: {card.paper}")
    tell(f"licences: code {card.code_licence}; weights {card.weights}")
    tell(f"AudioSet mAP: {card.audioset_map or 'none published'}")
    tell("published files: " + ", ".join(card.checkpoints))
    tell(f"architecture, where the file does not say it: {settings}")
    for line in ("", *recipe_of(kind).splitlines(), ""):
        tell(line)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    for row in rows:
        table.add_row(*map(printable, row))
    return table
