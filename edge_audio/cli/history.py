"""`edge-audio history`: the events of months as a table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import click

from edge_audio.cli.console import remark, tell
from edge_audio.errors import UsageError
from edge_audio.history.queries import HeardEvent, Wanted, all_events, names_in
from edge_audio.history.store import HistoryFile
from edge_audio.history.tables import csv_pieces, write_parquet
from edge_audio.report.bounds import Bounds
from edge_audio.support.files import errors_for_people, file_draft
from edge_audio.support.text import printable

SUFFIXES = (".csv", ".parquet")
_MAX_NAMED = 20


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The table: .csv, or .parquet (needs the archive extra); standard output gets CSV.",
)
@click.option("--label", help="Events of this label alone.")
@click.option("--stream", help="Events of this source alone.")
@click.option("--from", "first", metavar="TIME", help="Leave out what was earlier: 2026-03-01.")
@click.option("--to", "last", metavar="TIME", help="Leave out what began at that time or later.")
def history(
    path: Path,
    out: Path | None,
    label: str | None,
    stream: str | None,
    first: str | None,
    last: str | None,
) -> None:
    """Print the events that `edge-audio listen --history FILE` remembers, the newest first.

    One row for each sound, with its duration, which is empty where nobody heard the end.

    \b
    edge-audio history sounds.db --from 2026-03-01 > march.csv
    edge-audio history sounds.db --label Dog --out dog.parquet
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: its name must end in {' or '.join(SUFFIXES)}")
    bounds = Bounds.parse(first, last)
    bounds.check(is_dated=True)
    found = HistoryFile(path)
    wanted = Wanted(label=_spelled(found, "label", label), stream=_spelled(found, "stream", stream))
    every = all_events(found, wanted)
    within = (x for x in every if bounds.clip(x.unix_s, x.unix_s, x.utc_offset_s) is not None)
    if out is None:
        for piece in csv_pieces(within):
            click.echo(piece, nl=False)
    else:
        write(out, within)
        tell(f"written: {out}")


def _spelled(
    history: HistoryFile, column: Literal["label", "stream"], name: str | None
) -> str | None:
    """As events have it, whatever its case; as it is where none has it, and a word on that."""
    if name is None or name in (names := names_in(history, column)):
        return name
    for one in names:
        if one.casefold() == name.casefold():
            return one
    there = ", ".join(names[:_MAX_NAMED]) or "nothing"
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    remark(printable(f"no {column} in the history is {name}: there are {there}{more}"))
    return name


def write(out: Path, events: Iterable[HeardEvent]) -> None:
    """The table as a file, by its suffix."""
    with errors_for_people(out), file_draft(out) as draft:
        if out.suffix == ".parquet":
            write_parquet(draft, events)
            return
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(csv_pieces(events))
