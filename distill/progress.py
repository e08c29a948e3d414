"""Progress on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

_Item = TypeVar("_Item")


def tracked(
    items: Iterable[_Item] | Sequence[_Item], description: str, total: int | None = None
) -> Iterable[_Item]:
    """The items, with a bar that goes once they are through. total: of items without length."""
    console = Console(stderr=True)
    return track(items, description, total=total, console=console, transient=True)
