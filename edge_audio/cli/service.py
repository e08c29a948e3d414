"""`edge-audio service`: listening without anybody logged in, from one boot to the next."""

from __future__ import annotations

from pathlib import Path

import click

from edge_audio.cli.console import tell
from edge_audio.cli.live.screen import Screen
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.listening.opening import Terms
from edge_audio.listening.run import ListenRun
from edge_audio.listening.settings_file import SettingsFile
from edge_audio.service.unit import (
    DEFAULT_NAME,
    check_service_name,
    systemctl,
    systemctl_command,
    unit_path,
    unit_text,
    write_unit,
)

name_option = click.option(
    "--name",
    default=DEFAULT_NAME,
    show_default=True,
    callback=lambda context, option, value: check_service_name(value),
    help="Name of the unit, where there are several.",
)
system_option = click.option(
    "--system/--user",
    "for_system",
    default=False,
    help="A service of the system, which root installs, or of yourself (default).",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings of `edge-audio listen`, a TOML file; default: its defaults.",
)
run_as_option = click.option(
    "--run-as",
    metavar="USER",
    help="User of a --system service; default: one that exists while it runs (DynamicUser).",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be written and run; change nothing."
)


@click.group()
def service() -> None:
    """Run `edge-audio listen` as a systemd service.

    \b
    edge-audio service install --config home.toml --now
    edge-audio service status
    sudo edge-audio service install --system --config /etc/edge-audio/home.toml --now
    edge-audio service uninstall
    """


@service.command()
@system_option
@config_option
@name_option
@run_as_option
@click.option("--now", is_flag=True, help="Start it, now and at every boot.")
@click.option("--force", is_flag=True, help="Replace a unit of other content.")
@dry_run_option
def install(
    for_system: bool,
    config: Path | None,
    name: str,
    run_as: str | None,
    now: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Write the unit; with --now also start it."""
    text = make_unit(for_system, config, name, run_as)
    if config is not None:
        check_config(config)
    path = unit_path(name, for_system)
    steps = (["daemon-reload"], ["enable", name], ["restart", name])
    if dry_run:
        click.echo(f"# {path}\n{text}")
        print_steps("would then run", for_system, steps if now else ())
        return
    try:
        is_new = write_unit(path, text, force)
    except OSError as error:
        cure = "; --system needs root" if for_system else ""
        raise EdgeAudioError(f"cannot write {path}: {error.strerror}{cure}") from error
    tell(f"{'wrote' if is_new else 'unchanged:'} {path}")
    if now:
        for step in steps:
            systemctl(for_system, *step)
    else:
        print_steps("to start it", for_system, steps)
    if not for_system:
        click.echo("to keep it running while you are logged out: loginctl enable-linger")


@service.command()
@system_option
@name_option
@dry_run_option
def uninstall(for_system: bool, name: str, dry_run: bool) -> None:
    """Stop the service and remove its unit; recordings and settings stay."""
    path = unit_path(name, for_system)
    if not path.exists():
        raise UsageError(f"no service {name!r}: there is no {path}")
    if dry_run:
        steps = (["disable", "--now", name], ["daemon-reload"])
        tell(f"would remove {path}")
        print_steps("would run", for_system, steps)
        return
    try:
        systemctl(for_system, "disable", "--now", name)
        path.unlink()
        systemctl(for_system, "daemon-reload")
    except OSError as error:
        raise EdgeAudioError(f"cannot remove {path}: {error.strerror}") from error
    tell(f"removed {path}")


@service.command()
@system_option
@name_option
def status(for_system: bool, name: str) -> None:
    """What systemd says about the service, with its last lines."""
    systemctl(for_system, "--no-pager", "status", name)


@service.command()
@system_option
@config_option
@name_option
@run_as_option
def show(for_system: bool, config: Path | None, name: str, run_as: str | None) -> None:
    """Print the unit that `install` would write."""
    click.echo(make_unit(for_system, config, name, run_as), nl=False)


def make_unit(for_system: bool, config: Path | None, name: str, run_as: str | None) -> str:
    """The unit as the options describe it. Raises UsageError."""
    if run_as is not None and not for_system:
        raise UsageError("--run-as belongs to a --system service")
    return unit_text(name, config and config.absolute(), for_system, run_as)


def check_config(config: Path) -> None:
    """Reads the settings as `edge-audio listen` would. Raises UsageError."""
    try:
        file = SettingsFile(config)
        ListenRun(file.read(), Terms(), file, Screen)
    except EdgeAudioError as error:
        raise UsageError(str(error)) from error


def print_steps(title: str, for_system: bool, steps: tuple[list[str], ...]) -> None:
    """Prints the commands of systemctl, to be read or copied."""
    for step in steps:
        tell(f"{title}: {' '.join(systemctl_command(for_system, *step))}")
