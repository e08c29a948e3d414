"""`edge-audio devices`: the audio inputs of this machine."""

from __future__ import annotations

import click
from rich.table import Table

from edge_audio.cli.console import plain_console
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.sources.microphone import list_devices
from edge_audio.support.text import printable


@click.command()
@quiet_libraries()
def devices() -> None:
    """List the microphones and other audio inputs.

    The index, or a part of the name, is what `edge-audio listen --device` takes.
    """
    found = list_devices()
    if not found:
        click.echo("no audio inputs; `edge-audio listen --source demo` needs none")
        return
    table = Table("index", "name", "system", "channels", "rate in Hz", "default", box=None)
    for device in found:
        mark = "yes" if device.is_default else ""
        numbers = (str(device.n_channels), str(device.default_rate_hz))
        names = (printable(device.name), printable(device.host_api))
        table.add_row(str(device.index), *names, *numbers, mark)
    plain_console().print(table)
