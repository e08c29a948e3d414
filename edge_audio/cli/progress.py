"""How far a long command has come."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edge_audio.cli.console import plain_console
from edge_audio.support.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


class ProgressBar:
    """A bar on standard error, which goes when the block ends, where somebody sees it; never on
    standard output, which belongs to results."""

    def __init__(self, doing: str, total: float | None = None, is_wanted: bool = True) -> None:
        """doing: what is going on. total: None where nobody knows, which shows the time instead of
        a bar. is_wanted: False where there is too little to do for a bar."""
        self._progress: Progress | None = None
        if is_wanted and sys.stderr.isatty():
            self._progress = _shown(is_endless=total is None)
            self._task = self._progress.add_task(printable(doing), total=total, note="")
        self._note = ""

    def __enter__(self) -> ProgressBar:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Moves on, by so much of the total. note: stands beside the bar until the next one."""
        self._note = printable(note) or self._note
        if self._progress:
            self._progress.update(self._task, advance=amount, note=self._note)

    def describe(self, doing: str) -> None:
        """Says what is going on now."""
        if self._progress:
            self._progress.update(self._task, description=printable(doing))

    def print(self, line: str) -> None:
        """A line on standard error, above the bar if there is one."""
        if self._progress:
            self._progress.console.print(printable(line))
        else:
            click.echo(printable(line), err=True)


def _shown(is_endless: bool) -> Progress:
    from rich.progress import Progress  # which nobody waits for where nothing is drawn

    console = plain_console(stderr=True)
    is_hidden = not console.is_terminal
    return Progress(*_columns(is_endless), console=console, transient=True, disable=is_hidden)


def _columns(is_endless: bool) -> tuple[ProgressColumn, ...]:
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}", markup=False)
    if is_endless:
        return SpinnerColumn(), text, TimeElapsedColumn()
    return text, BarColumn(), TextColumn("{task.fields[note]}", markup=False), TimeRemainingColumn()
