"""`edge-audio listen`: microphones, streams, files or the demo scene, named while they sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_audio.cli.console import remark, tell
from edge_audio.cli.listen_options import (
    Flags,
    destination_options,
    format_options,
    pcm_options,
    realtime_option,
    settings_options,
    source_options,
)
from edge_audio.cli.live.explain import explain_option
from edge_audio.cli.live.screen import Screen
from edge_audio.cli.options import (
    backend_option,
    label_options,
    model_option,
    policy_options,
    sounds_option,
)
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import UsageError
from edge_audio.listening.config import Config
from edge_audio.listening.opening import Terms
from edge_audio.listening.run import ListenRun
from edge_audio.listening.settings_file import SettingsFile


@click.command()
@settings_options
@model_option
@sounds_option
@source_options
@backend_option
@format_options
@label_options
@policy_options
@explain_option
@destination_options
@pcm_options
@realtime_option
@click.pass_context
@quiet_libraries()
def listen(
    context: click.Context,
    /,
    config_path: Path | None,
    is_check: bool,
    duration_s: float | None,
    realtime: bool | None,
    explained: tuple[str, ...],
    **_: Any,
) -> None:
    """Name sounds while they sound: microphones, streams, files, pipe or demo scene.

    Stops at the end of the sources, after --duration, or on Ctrl-C, with a summary on standard
    error. Times are seconds of audio since the start.

    \b
    edge-audio listen
    edge-audio listen --source demo
    edge-audio listen --format jsonl --only Speech --only 'Dog' --threshold 0.3
    edge-audio listen --source street.flac --format text --top 3
    edge-audio listen --config home.toml
    edge-audio listen --source street.flac --format text --explain Dog
    edge-audio listen --reconnect --json sounds.jsonl --mqtt broker.local --clips clips
    arecord -q -t raw -f S16_LE -r 16000 | edge-audio listen --source - --format jsonl
    edge-audio listen --source serial:/dev/ttyACM0 --threshold Doorbell=0.4
    """
    flags = Flags.of(context)
    pcm = flags.pcm
    file = SettingsFile(config_path, flags.over) if config_path else None
    config = file.read() if file else flags.over(Config(reconnect=False))
    if pcm and not any(source.url == "-" for source in config.source):
        raise UsageError("--rate, --sample-format and --channels belong to raw PCM (--source -)")
    if all(source.is_device for source in config.source):
        flags.refuse_for_devices()
    run = ListenRun(config, Terms(duration_s, realtime, pcm, explained), file, Screen)
    if is_check:
        check(run, file)
    else:
        run.go()


def check(run: ListenRun, file: SettingsFile | None) -> None:
    """Says what a run would lack, a line each, or that all is fine."""
    found = [
        file.located(problem.text, problem.section) if file else problem.text
        for problem in run.problems()
    ]
    for text in found[:-1]:
        remark(f"error: {text}")
    if found:
        raise UsageError(found[-1])
    tell(f"{file.path if file else 'settings'}: fine")
