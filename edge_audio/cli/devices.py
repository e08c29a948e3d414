"""`edge-audio devices`: the audio inputs of this machine."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from edge_audio.cli.quiet import quiet_libraries
from edge_audio.sources.audio_file import list_devices


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
        table.add_row(str(device.index), device.name, device.host_api, *numbers, mark)
    Console(soft_wrap=True).print(table)
