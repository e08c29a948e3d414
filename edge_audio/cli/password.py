"""`edge-audio password`: what the page compares passwords with."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge_audio.cli.console import tell
from edge_audio.errors import UsageError
from edge_audio.page.password import MAX_CHARS, PasswordHash
from edge_audio.support.files import write_atomically


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where it goes, for its owner alone; by default to standard output.",
)
def password(out: Path | None) -> None:
    """Make the hash of a password, for password_file of [page].

    Asks for the password twice, or reads it from standard input where that is no terminal. The
    hash (scrypt) tells nobody what the password is.

    \b
    edge-audio password --out /etc/edge-audio/page-password
    """
    try:
        line = str(PasswordHash.of(_typed()))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if out is None:
        click.echo(line)
    else:
        write_atomically(out, f"{line}\n".encode(), mode=0o600)
        tell(f"written: {out}; name it as password_file under [page]")


def _typed() -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt(
            "password", hide_input=True, confirmation_prompt="again", err=True
        )
        return typed
    return sys.stdin.readline(MAX_CHARS + 2).rstrip("\r\n")
