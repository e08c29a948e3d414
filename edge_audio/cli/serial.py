"""`edge-audio listen --source serial:PORT`: a device tags, this host shows what it reports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click
import msgspec
from rich.console import Console, RenderableType
from rich.text import Text

from edge_audio.cli.live.display import LIVE_TOP, Layout, LiveSink, can_draw
from edge_audio.cli.options import LabelChoice
from edge_audio.events.detector import Event
from edge_audio.listening.signals import StopSignals
from edge_audio.serial.device import Heard, Item, Notice, SerialDevice, StepScores, parse_port
from edge_audio.serial.protocol import MAX_TOP
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.sinks.console import ConsoleSink
from edge_audio.sinks.jsonl import JsonLinesSink
from edge_audio.sources.stream import Stream
from edge_audio.support.text import clock

SERIAL_PREFIX = "serial:"


def listen_to_serial(
    source_name: str,
    format_name: str,
    n_top: int | None,
    choice: LabelChoice,
    duration_s: float | None,
) -> None:
    """Runs until the device's audio ends, duration_s of it were heard, or a signal comes."""
    port, baud = parse_port(source_name.removeprefix(SERIAL_PREFIX))
    with SerialDevice(port, baud) as device:
        spec = choice.events(device.events, device.labels)
        is_live = format_name == "live" and can_draw(Console())
        n_top = n_top or (LIVE_TOP if is_live else 0)
        # The device ranks either all labels or those that are on; the sink leaves out the rest.
        n_asked = min(n_top + len(choice.exclude), MAX_TOP) if n_top else 0
        device.start(spec.thresholds, n_asked, top_of_watched=bool(choice.only))
        sink, notify = choose_sink(format_name, is_live, n_top, choice, device)
        try:
            with StopSignals() as signals:
                items = signals.until_stopped(device.stream())
                n_events = report(items, device, sink, notify, duration_s)
        finally:
            sink.close()
    click.echo(f"edge-audio: {summary(device, n_events)}", err=True)


def report(
    items: Iterable[Item],
    device: SerialDevice,
    sink: Sink,
    notify: Callable[[str], None],
    duration_s: float | None,
) -> int:
    """Passes on what the device says, and ends what is open in the end, also where the device
    fails. Returns how many sounds began."""
    n_events = 0
    limit_s = float("inf") if duration_s is None else duration_s
    try:
        for item in items:
            if isinstance(item, Event):
                if item.time_s <= limit_s:
                    n_events += item.kind == "start"
                    sink.on_event(item)
            elif isinstance(item, Notice):
                notify(item.text)
            elif item.time_s > limit_s:
                break
            elif isinstance(item, StepScores):
                sink.on_scores(item.time_s, item.scores)
            if isinstance(item, Heard) and item.time_s >= limit_s:
                break
    finally:
        for event in device.flush():
            sink.on_event(msgspec.structs.replace(event, time_s=min(event.time_s, limit_s)))
    return n_events


def choose_sink(
    format_name: str, is_live: bool, n_top: int, choice: LabelChoice, device: SerialDevice
) -> tuple[Sink, Callable[[str], None]]:
    """The sink for --format, and where lines about the connection go."""
    top = choice.top(device.labels, n_top)
    if is_live:
        assert device.hello is not None  # it was heard when the device was opened
        stream = Stream(device.port, device.labels, device.hello.sample_rate_hz, live=True)
        live = SerialLiveSink(device, Console(), f"on {device.port}", top, stream)
        return live, live.on_notice
    if format_name == "none":
        return Sink(), notify_on_stderr
    if format_name == "jsonl":
        return JsonLinesSink(sys.stdout, top), notify_on_stderr
    return ConsoleSink(sys.stdout, top), notify_on_stderr


def notify_on_stderr(text: str) -> None:
    click.echo(f"edge-audio: {text}", err=True)


def summary(device: SerialDevice, n_events: int) -> str:
    """One line for the end of a run."""
    text = f"{device.time_s:.1f} s of audio on the device, {n_events} events, {device.losses}"
    stats = device.device_stats
    if stats is None:
        return text
    return (
        f"{text}; on the device {stats.n_dropped_samples} samples dropped, {stats.n_tx_drops} "
        f"frames unsent, {stats.n_rx_bad + stats.n_rx_version} commands damaged, "
        f"{stats.n_rx_overruns} bytes overrun"
    )


class SerialLiveSink(LiveSink):
    """The live view without what only the device knows: audio, level and load. The connection
    has their place."""

    def __init__(
        self, device: SerialDevice, console: Console, title: str, top: TopLabels, stream: Stream
    ) -> None:
        self._device = device
        super().__init__(console, title, top, stream)

    def render(self) -> RenderableType:
        """One frame of the view."""
        layout = Layout.of(self._console, self._top.n_top, has_audio=False)
        notice = Text(self._heard.notice, style="dim", no_wrap=True, overflow="ellipsis")
        subtitle = Text(f"{clock(self._heard.time_s)}  {self._device.losses}")
        return self._panel(layout, [notice, *self._body(layout)], subtitle)
