"""`edge-audio config`: a file of settings to begin with."""

from __future__ import annotations

import click

from edge_audio.errors import UsageError
from edge_audio.listening.example import EXAMPLE


@click.command()
@click.option("--example", "is_example", is_flag=True, help="Print a file that has them all.")
def config(is_example: bool) -> None:
    """Print settings to begin with, each with what it means.

    \b
    edge-audio config --example > home.toml
    edge-audio listen --config home.toml --check
    """
    if not is_example:
        raise UsageError("say what to print: edge-audio config --example > home.toml")
    click.echo(EXAMPLE, nl=False)
