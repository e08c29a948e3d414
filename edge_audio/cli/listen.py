"""`edge-audio listen`: a microphone, file, pipe or the demo scene, named while it sounds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing

import click
from rich.console import Console

from edge_audio.blocks import Block, Source, paced
from edge_audio.cli.display import LiveSink
from edge_audio.cli.loop import first_seconds, listen_to
from edge_audio.cli.options import (
    LabelChoice,
    backend_option,
    label_options,
    model_option,
    open_tagger,
)
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.cli.serial import SERIAL_PREFIX, listen_to_serial
from edge_audio.demo import DemoScene
from edge_audio.errors import UsageError
from edge_audio.sinks import ConsoleSink, JsonLinesSink, Sink
from edge_audio.sources import SAMPLE_FORMATS, AudioFile, Microphone, StdinPcm, has_microphone
from edge_audio.streams import Stats
from edge_audio.tagger import Tagger

FORMATS = ("live", "text", "jsonl")
REALTIME_BLOCK_MS = 80.0  # as a microphone delivers
FILE_BLOCK_MS = 1000.0  # halves the cost of a file that nobody waits for
LIVE_TOP = 8  # bars in the live view unless --top says otherwise


@click.command()
@model_option
@click.option(
    "--source",
    "source_name",
    default="mic",
    show_default=True,
    metavar="mic|demo|auto|FILE|-|serial:PORT",
    help="What to listen to: the microphone, a built-in synthetic scene, the microphone if there "
    "is one and else the scene, an audio file, raw PCM on standard input, or a device that tags "
    "by itself on a serial port (serial:PORT[@BAUD]; --model is then its own).",
)
@click.option(
    "--device",
    metavar="INDEX|NAME",
    help="Input device of the microphone; see `edge-audio devices`.",
)
@backend_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="live",
    show_default=True,
    help="live draws into the terminal (text where there is none), text prints one line per "
    "event, jsonl one JSON object per line.",
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
@quiet_libraries()
def listen(
    model: str,
    source_name: str,
    device: str | None,
    backend: str,
    format_name: str,
    duration_s: float | None,
    n_top: int | None,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    thresholds: tuple[str, ...],
    rate_hz: int | None,
    sample_format: str | None,
    n_channels: int | None,
    realtime: bool | None,
) -> None:
    """Name sounds while they sound: microphone, file, pipe or demo scene.

    Stops at the end of the source, after --duration, or on Ctrl-C, with a summary on standard
    error. Times are seconds of audio since the start.

    \b
    edge-audio listen
    edge-audio listen --source demo
    edge-audio listen --format jsonl --only Speech --only 'Dog' --threshold 0.3
    edge-audio listen --source street.flac --format text --top 3
    arecord -q -t raw -f S16_LE -r 16000 | edge-audio listen --source - --format jsonl
    edge-audio listen --source serial:/dev/ttyACM0 --threshold Doorbell=0.4
    """
    choice = LabelChoice(only, exclude, thresholds)
    pcm = {"rate_hz": rate_hz, "sample_format": sample_format, "n_channels": n_channels}
    pcm = {name: value for name, value in pcm.items() if value is not None}
    if source_name.startswith(SERIAL_PREFIX):
        if device is not None or pcm or realtime is not None:
            raise UsageError("--source serial: takes no --device, no format of PCM, no --realtime")
        listen_to_serial(source_name, format_name, n_top, choice, duration_s)
        return
    tagger = open_tagger(model, backend, choice)
    model_rate_hz = tagger.sample_rate_hz
    with choose_source(source_name, device, pcm, model_rate_hz, realtime) as source:
        stats = Stats()
        sink = choose_sink(format_name, n_top, choice, tagger, source, stats)
        with closing(sink):
            blocks = choose_blocks(source, realtime, duration_s)
            listen_to(blocks, source, tagger, sink, stats)
    click.echo(f"edge-audio: {stats.summary()}", err=True)


def choose_source(
    name: str, device: str | None, pcm: dict, sample_rate_hz: int, realtime: bool | None
) -> Source:
    """The source that --source names, not yet open."""
    if name == "auto":
        name = "mic" if device is not None or has_microphone() else "demo"
        if name == "demo":
            click.echo("edge-audio: no microphone here, so this is the demo scene", err=True)
    if device is not None and name != "mic":
        raise UsageError("--device belongs to the microphone (--source mic)")
    if pcm and name != "-":
        raise UsageError("--rate, --sample-format and --channels belong to raw PCM (--source -)")
    if name == "mic":
        return Microphone(device, sample_rate_hz)
    if name == "demo":
        return DemoScene(sample_rate_hz)
    if name == "-":
        return StdinPcm(sys.stdin.buffer, sample_rate_hz=sample_rate_hz, **pcm)
    return AudioFile(name, sample_rate_hz, REALTIME_BLOCK_MS if realtime else FILE_BLOCK_MS)


def choose_blocks(
    source: Source, realtime: bool | None, duration_s: float | None
) -> Iterable[Block]:
    """The blocks of an open source at the pace and up to the length that were asked for."""
    if realtime is None:
        realtime = isinstance(source, DemoScene)
    blocks: Iterable[Block] = source.blocks()
    if realtime and not source.live:
        blocks = paced(blocks, source.sample_rate_hz)
    if duration_s is not None:
        blocks = first_seconds(blocks, source.sample_rate_hz, duration_s)
    return blocks


def choose_sink(
    format_name: str,
    n_top: int | None,
    choice: LabelChoice,
    tagger: Tagger,
    source: Source,
    stats: Stats,
) -> Sink:
    """The sink for --format; a live view needs a terminal that can move its cursor."""
    console = Console()
    if format_name == "live" and sys.stdout.isatty() and not console.is_dumb_terminal:
        title = f"{tagger.bundle.manifest.name} on {source.name}"
        playing = source.segment_at if isinstance(source, DemoScene) else None
        bars = choice.top(tagger.labels, n_top or LIVE_TOP)
        return LiveSink(console, title, bars, stats, playing)
    top = choice.top(tagger.labels, n_top or 0)
    if format_name == "jsonl":
        return JsonLinesSink(sys.stdout, top)
    return ConsoleSink(sys.stdout, top)
