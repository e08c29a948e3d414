"""How far a long command has come."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edge_audio.cli.console import plain_console
from edge_audio.support.text import printable


class ProgressBar:
    """A bar on standard error, which goes when the block ends, where somebody sees it; never on
    standard output, which belongs to results."""

    def __init__(self, doing: str, total: float | None = None, is_wanted: bool = True) -> None:
        """doing: what is going on. total: None where nobody knows, which shows the time instead of
        a bar. is_wanted: False where there is too little to do for a bar."""
        console = plain_console(stderr=True)
        is_hidden = not (console.is_terminal and is_wanted)
        columns = _columns(is_endless=total is None)
        self._progress = Progress(*columns, console=console, transient=True, disable=is_hidden)
        self._task = self._progress.add_task(printable(doing), total=total, note="")
        self._note = ""

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Moves on, by so much of the total. note: stands beside the bar until the next one."""
        self._note = printable(note) or self._note
        self._progress.update(self._task, advance=amount, note=self._note)

    def describe(self, doing: str) -> None:
        """Says what is going on now."""
        self._progress.update(self._task, description=printable(doing))

    def print(self, line: str) -> None:
        """A line on standard error, above the bar if there is one."""
        self._progress.console.print(printable(line))


def _columns(is_endless: bool) -> tuple[ProgressColumn, ...]:
    text = TextColumn("{task.description}", markup=False)
    if is_endless:
        return SpinnerColumn(), text, TimeElapsedColumn()
    return text, BarColumn(), TextColumn("{task.fields[note]}", markup=False), TimeRemainingColumn()
