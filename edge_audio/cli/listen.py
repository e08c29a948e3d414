"""`edge-audio listen`: microphones, streams, files or the demo scene, named while they sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from edge_audio.bundle.spec import Spec
from edge_audio.cli.live.display import LIVE_TOP
from edge_audio.cli.live.explain import explain_option
from edge_audio.cli.live.screen import FORMATS, Screen
from edge_audio.cli.options import LabelChoice, backend_option, label_options, model_option
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.cli.serial import SERIAL_PREFIX, listen_to_serial
from edge_audio.errors import UsageError
from edge_audio.listening.config import Config, EventsConfig, SourceConfig, load_config
from edge_audio.listening.run import ListenRun, Terms
from edge_audio.sinks.clips.recorder import ClipsConfig
from edge_audio.sinks.jsonl import JsonLinesConfig
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.prometheus import MetricsConfig
from edge_audio.sinks.webhook.destination import WebhookConfig
from edge_audio.sources.audio_file import SAMPLE_FORMATS


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings in TOML (docs/config.md); SIGHUP reads them again. Flags that are given as well "
    "replace what the file says.",
)
@click.option("--check", "is_check", is_flag=True, help="Check the settings and stop.")
@model_option
@click.option(
    "--source",
    "sources",
    multiple=True,
    default=("mic",),
    show_default="mic",
    metavar="mic|demo|auto|FILE|URL|-|serial:PORT",
    help="What to listen to, repeatable: the microphone, a built-in synthetic scene, the "
    "microphone if there is one and else the scene, an audio file, an rtsp:// or http:// "
    "stream (needs ffmpeg), raw PCM on standard input, or a device that tags by itself on a "
    "serial port (serial:PORT[@BAUD], alone; --model is then its own).",
)
@click.option(
    "--device",
    metavar="INDEX|NAME",
    help="Input device of the microphone; see `edge-audio devices`.",
)
@click.option(
    "--reconnect",
    is_flag=True,
    help="Open a microphone or stream again whenever it breaks, instead of stopping.",
)
@backend_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="live",
    show_default=True,
    help="live draws into the terminal (text where there is none), text prints one line per "
    "event, jsonl one JSON object per line, none nothing.",
)
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Stop after this many seconds of audio.",
)
@click.option(
    "--top",
    "n_top",
    type=click.IntRange(min=1),
    metavar="K",
    help=f"Also report the K highest scores of every step (live: number of bars, {LIVE_TOP}).",
)
@label_options
@explain_option
@click.option("--json", "json_path", metavar="FILE", help="Also append events to FILE, rotated.")
@click.option("--mqtt", "mqtt_host", metavar="HOST[:PORT]", help="Also tell an MQTT broker.")
@click.option("--webhook", "webhook_url", metavar="URL", help="Also post every event to URL.")
@click.option("--clips", "clips_folder", metavar="DIR", help="Record audio around events, as FLAC.")
@click.option(
    "--metrics", "metrics_port", type=int, metavar="PORT", help="Answer Prometheus on localhost."
)
@click.option(
    "--rate", "rate_hz", type=click.IntRange(min=1), help="Sample rate of `-` in Hz; default 16000."
)
@click.option(
    "--sample-format",
    type=click.Choice(SAMPLE_FORMATS),
    metavar="FORMAT",
    help=f"Sample format of `-`: {', '.join(SAMPLE_FORMATS)}; default s16le.",
)
@click.option(
    "--channels", "n_channels", type=click.IntRange(min=1), help="Channels of `-`; default 1."
)
@click.option(
    "--realtime/--no-realtime",
    default=None,
    help="Play a file or the demo at the speed of sound, or as fast as possible. Default: the "
    "demo in real time, files as fast as possible.",
)
@click.pass_context
@quiet_libraries()
def listen(
    context: click.Context,
    config_path: Path | None,
    is_check: bool,
    duration_s: float | None,
    rate_hz: int | None,
    sample_format: str | None,
    n_channels: int | None,
    realtime: bool | None,
    explained: tuple[str, ...],
    **flags: Any,
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
    edge-audio listen --source street.flac --format text --explain Siren
    edge-audio listen --reconnect --json sounds.jsonl --mqtt broker.local --clips clips
    arecord -q -t raw -f S16_LE -r 16000 | edge-audio listen --source - --format jsonl
    edge-audio listen --source serial:/dev/ttyACM0 --threshold Doorbell=0.4
    """
    pcm = {"rate_hz": rate_hz, "sample_format": sample_format, "n_channels": n_channels}
    pcm = {name: value for name, value in pcm.items() if value is not None}
    if any(source.startswith(SERIAL_PREFIX) for source in flags["sources"]):
        if pcm or realtime is not None or _given(context) - _FOR_SERIAL:
            raise UsageError("--source serial: goes with --format, --top, labels and --duration")
        choice = LabelChoice(flags["only"], flags["exclude"], flags["thresholds"])
        shown = (flags["format_name"], flags["n_top"])
        listen_to_serial(flags["sources"][0], *shown, choice, duration_s)
        return
    base = load_config(config_path) if config_path else Config(reconnect=False)
    config = from_flags(base, flags, _given(context))
    if pcm and not any(source.url == "-" for source in config.source):
        raise UsageError("--rate, --sample-format and --channels belong to raw PCM (--source -)")
    run = ListenRun(config, Terms(duration_s, realtime, pcm, explained), config_path, Screen)
    if is_check:
        click.echo(f"{config_path or 'settings'}: fine")
    else:
        run.go()


_FOR_SERIAL = {
    "sources",
    "format_name",
    "n_top",
    "only",
    "exclude",
    "thresholds",
    "duration_s",
    "model",
    "backend",
}


def _given(context: click.Context) -> set[str]:
    """Names of the options that the user gave."""
    source = context.get_parameter_source
    return {name for name in context.params if source(name) == ParameterSource.COMMANDLINE}


def from_flags(base: Config, flags: dict[str, Any], given: set[str]) -> Config:
    """The settings of `base` with those that were given on the command line in their place."""
    changes: dict[str, Any] = {}
    plain = {
        "model": "model",
        "backend": "backend",
        "reconnect": "reconnect",
        "format_name": "format",
        "n_top": "top",
    }
    changes |= {name: flags[flag] for flag, name in plain.items() if flag in given}
    try:
        if given & {"sources", "device"}:
            changes["source"] = _sources(flags["sources"], flags["device"])
        if given & {"only", "exclude", "thresholds"}:
            choice = LabelChoice(flags["only"], flags["exclude"], flags["thresholds"]).config
            changes["events"] = _merged(base.events, choice)
        changes |= _destinations(flags)
        return msgspec.structs.replace(base, **changes)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _destinations(flags: dict[str, Any]) -> dict[str, Spec]:
    """Those that were asked for, each with defaults but for the one thing that a flag says;
    docs/sinks.md has everything else. Raises ValueError."""
    found: dict[str, Spec] = {}
    if flags["json_path"]:
        found["json"] = JsonLinesConfig(path=flags["json_path"])
    if flags["mqtt_host"]:
        host, _, port = flags["mqtt_host"].partition(":")
        if port and not port.isdecimal():
            raise ValueError(f"--mqtt {flags['mqtt_host']}: the port is no number")
        found["mqtt"] = MqttConfig(host=host, port=int(port) if port else None)
    if flags["webhook_url"]:
        found["webhook"] = WebhookConfig(url=flags["webhook_url"])
    if flags["clips_folder"]:
        found["clips"] = ClipsConfig(folder=flags["clips_folder"], record=True)
    if flags["metrics_port"] is not None:
        found["metrics"] = MetricsConfig(port=flags["metrics_port"])
    return found


def _sources(urls: tuple[str, ...], device: str | None) -> tuple[SourceConfig, ...]:
    if device is None:
        return tuple(SourceConfig(url=url) for url in urls)
    if set(urls) - {"mic", "auto"}:
        raise UsageError("--device belongs to the microphone (--source mic)")
    return (SourceConfig(url="mic", device=device),)


def _merged(base: EventsConfig, given: EventsConfig) -> EventsConfig:
    """`given`, where it says something, over `base`."""
    empty = EventsConfig()
    names = ("only", "exclude", "threshold", "thresholds")
    told = {n: getattr(given, n) for n in names if getattr(given, n) != getattr(empty, n)}
    return msgspec.structs.replace(base, **told)
