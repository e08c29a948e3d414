"""Progress on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

_Item = TypeVar("_Item")


def tracked(
    items: Iterable[_Item] | Sequence[_Item], description: str, total: int | None = None
) -> Iterable[_Item]:
    """The items, with a bar that goes once they are through. total: of items without length."""
    console = Console(stderr=True)
    return track(items, description, total=total, console=console, transient=True)


def progress() -> Progress:
    """A bar on stderr whose description shows the latest figures."""
    return Progress(
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
    )


def format_figures(values: Mapping[str, float]) -> str:
    """`loss 0.412  rank 31.2`, for the progress bar."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
