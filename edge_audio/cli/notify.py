"""`edge-audio notify`: a test message to those whom a run would tell."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from edge_audio.cli.console import remark, tell
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.listening.settings_file import load_config
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sinks.notify.destination import NotifyDestination


@click.command()
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings whose [notify] says who is told.",
)
@click.option("--notify", "urls", multiple=True, metavar="URL", help="As of `edge-audio listen`.")
def notify(names: tuple[str, ...], path: Path | None, urls: tuple[str, ...]) -> None:
    """Send a test message to all recipients of notifications, or to those that are named.

    \b
    edge-audio notify --config home.toml
    edge-audio notify --config home.toml phone
    """
    config = _config(path, urls)
    NotifyDestination.check(config, ())
    with closing(NotifyDestination(config)) as destination:
        known = [recipient.name for recipient in destination.recipients]
        if unknown := set(names) - set(known):
            raise UsageError(f"nobody is called {min(unknown)!r}, but {', '.join(known)}")
        problems = [_tried(destination, name) for name in names or known]
    if any(problems):
        raise EdgeAudioError(f"{sum(map(bool, problems))} of {len(problems)} were not reached")


def _config(path: Path | None, urls: tuple[str, ...]) -> NotifyConfig:
    """Raises UsageError."""
    if urls:
        return NotifyConfig(urls=urls)
    found = load_config(path).notify if path is not None else None
    if found is None:
        raise UsageError("say who is told: --config FILE with [notify] in it, or --notify URL")
    return found


def _tried(destination: NotifyDestination, name: str) -> str:
    outcome = destination.test(name)
    assert outcome is not None
    if outcome.problem:
        remark(f"{name}: {outcome.problem}")
    else:
        tell(f"{name}: taken")
    return outcome.problem
