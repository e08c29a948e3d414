"""What commands print for people: tables and remarks, with text of strangers made harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_audio.support.text import printable

if TYPE_CHECKING:
    from rich.console import Console


def remark(text: str) -> None:
    """One line on standard error, which begins with the name of the program."""
    click.echo(f"edge-audio: {printable(text)}", err=True)


def tell(text: str) -> None:
    """One line of a result on standard output."""
    click.echo(printable(text))


def plain_console(stderr: bool = False) -> Console:
    """A console that shows text as it is: names may look like rich's markup ([bold]) or emoji
    (:dog:), which must not be taken for them. What tables hold goes through `printable` before.
    """
    from rich.console import Console  # which a short `edge-audio --help` does not wait for

    return Console(stderr=stderr, soft_wrap=True, markup=False, emoji=False, highlight=False)
