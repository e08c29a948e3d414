"""The options of `edge-audio listen`, and what they make of its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from click.core import ParameterSource

from edge_audio.bundle.spec import MAX_RATE_HZ, Spec
from edge_audio.cli.live.display import LIVE_TOP
from edge_audio.cli.live.screen import FORMATS
from edge_audio.cli.options import FiniteRange, LabelChoice, channel_option, with_policy
from edge_audio.errors import UsageError
from edge_audio.history.destination import HistoryConfig
from edge_audio.listening.config import MAX_LATENCY_S, Config, SourceConfig
from edge_audio.listening.events_config import EventsConfig
from edge_audio.page.config import PageConfig
from edge_audio.sinks.base import MAX_TOP
from edge_audio.sinks.clips.recorder import ClipsConfig
from edge_audio.sinks.jsonl import JsonLinesConfig
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sinks.prometheus import MetricsConfig
from edge_audio.sinks.webhook.destination import WebhookConfig
from edge_audio.sources.samples import SAMPLE_FORMATS
from edge_audio.support.address import parse_address, split_scheme

MAX_DURATION_S = 1e9  # 31 years
MAX_CHANNELS = 1024

Command = TypeVar("Command", bound=Callable[..., Any])


def grouped(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order of the help text."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


settings_options = grouped(
    click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Settings in TOML (docs/config.md); SIGHUP reads them again. Flags that are given as "
        "well replace what the file says, then too.",
    ),
    click.option("--check", "is_check", is_flag=True, help="Check the settings and stop."),
)
source_options = grouped(
    click.option(
        "--source",
        "sources",
        multiple=True,
        default=("mic",),
        show_default="mic",
        metavar="mic|demo|auto|FILE|URL|-|serial:PORT",
        help="What to listen to, repeatable: the microphone, a built-in synthetic scene, the "
        "microphone if there is one and else the scene, an audio file, an rtsp:// or http:// "
        "stream (needs ffmpeg), raw PCM or a file on standard input (-), or a device that tags by "
        "itself on a serial port (serial:PORT[@BAUD]; it has a model of its own).",
    ),
    click.option(
        "--device",
        metavar="INDEX|NAME",
        help="Input device of the microphone; see `edge-audio devices`.",
    ),
    channel_option,
    click.option(
        "--reconnect",
        is_flag=True,
        help="Open a microphone or stream again whenever it breaks, instead of stopping.",
    ),
    click.option(
        "--latency",
        "latency_s",
        type=FiniteRange(min=0, max=MAX_LATENCY_S),
        metavar="S",
        help="While nothing sounds, audio of a microphone may wait this long, which saves the CPU; "
        f"0 = never. [default: {Config().latency_s:g}]",
    ),
)
format_options = grouped(
    click.option(
        "--format",
        "format_name",
        type=click.Choice(FORMATS, case_sensitive=False),
        default="live",
        show_default=True,
        help="live draws into the terminal (text where there is none), text prints one line per "
        "event, jsonl one JSON object per line, none nothing.",
    ),
    click.option(
        "--duration",
        "duration_s",
        type=FiniteRange(min=0, min_open=True, max=MAX_DURATION_S),
        metavar="S",
        help="Stop after this many seconds of audio.",
    ),
    click.option(
        "--top",
        "n_top",
        type=click.IntRange(1, MAX_TOP),
        metavar="K",
        help=f"Also report the K highest scores of every step (live: number of bars, {LIVE_TOP}).",
    ),
)
destination_options = grouped(
    click.option(
        "--json", "json_path", metavar="FILE", help="Also append events to FILE, rotated."
    ),
    click.option(
        "--history", "history_path", metavar="FILE", help="Also remember events in FILE, by SQLite."
    ),
    click.option("--mqtt", "mqtt_address", metavar="HOST[:PORT]", help="Also tell an MQTT broker."),
    click.option("--webhook", "webhook_url", metavar="URL", help="Also post every event to URL."),
    click.option(
        "--notify",
        "notify_urls",
        multiple=True,
        metavar="URL",
        help="Also tell people by a message: an address of Apprise such as ntfy://TOPIC, "
        "repeatable. Other users of the machine can read command lines; settings name a file.",
    ),
    click.option(
        "--clips", "clips_folder", metavar="DIR", help="Record audio around events, as FLAC."
    ),
    click.option(
        "--metrics",
        "metrics_address",
        metavar="[HOST:]PORT",
        help="Answer Prometheus, on localhost or another address.",
    ),
    click.option(
        "--page",
        "page_address",
        metavar="[HOST:]PORT",
        help="Show a web page, on localhost or another address (docs/page.md).",
    ),
)
pcm_options = grouped(
    click.option(
        "--rate",
        "rate_hz",
        type=click.IntRange(1, MAX_RATE_HZ),
        help="Sample rate of `-` in Hz; default 16000.",
    ),
    click.option(
        "--sample-format",
        type=click.Choice(SAMPLE_FORMATS, case_sensitive=False),
        metavar="FORMAT",
        help=f"Sample format of `-`: {', '.join(SAMPLE_FORMATS)}; default s16le.",
    ),
    click.option(
        "--channels",
        "n_channels",
        type=click.IntRange(1, MAX_CHANNELS),
        help="Channels of `-`; default 1.",
    ),
)
realtime_option = grouped(
    click.option(
        "--realtime/--no-realtime",
        default=None,
        help="Play a file or the demo at the speed of sound, or as fast as possible. Default: the "
        "demo in real time, files as fast as possible.",
    ),
)


@dataclass(frozen=True)
class Flags:
    """What was given on the command line. values: of all options. given: those that the user
    gave; others have defaults, which do not count beside a file of settings."""

    values: Mapping[str, Any]
    given: frozenset[str]

    @classmethod
    def of(cls, context: click.Context) -> Flags:
        source = context.get_parameter_source
        names = (name for name in context.params if source(name) == ParameterSource.COMMANDLINE)
        return cls(context.params, frozenset(names))

    def over(self, base: Config) -> Config:
        """The settings of `base` with those that were given in their place. Raises UsageError."""
        given, values = self.given, self.values
        changes = {name: values[flag] for flag, name in _PLAIN.items() if flag in given}
        try:
            if given & {"sources", "device"}:
                changes["source"] = _sources(values["sources"], values["device"])
            if "channel" in given:
                sources = changes.get("source", base.source)
                changes["source"] = tuple(
                    msgspec.structs.replace(source, channel=values["channel"]) for source in sources
                )
            if given & {"only", "exclude", "thresholds", "sensitivity"}:
                names = ("only", "exclude", "thresholds", "sensitivity")
                choice = LabelChoice(*(values[name] for name in names))
                changes["events"] = _merged(base.events, choice.config)
            changes["events"] = with_policy(changes.get("events", base.events), values)
            return msgspec.structs.replace(base, **changes, **self._destinations())
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _destinations(self) -> dict[str, Spec]:
        """The destinations that flags ask for, with defaults for all that a flag does not say;
        docs/sinks.md has everything else. Raises ValueError."""
        named = {name: self.values[name] for name in _DESTINATIONS if name in self.given}
        made = {}
        for name, value in named.items():
            try:
                section, made_of_it = _DESTINATIONS[name](value)
            except ValueError as error:
                raise ValueError(f"--{name.partition('_')[0]} {error}") from None
            made[section] = made_of_it
        return made

    def refuse_for_devices(self) -> None:
        """Raises UsageError for what a run of devices alone would not look at."""
        if "realtime" in self.given:
            raise UsageError("--realtime belongs to files and the demo scene")
        for name in ("model", "sounds", "backend"):
            if name in self.given:
                raise UsageError(
                    f"--{name} belongs to audio that is tagged here: a device (serial:) has a "
                    "model of its own, so leave it out"
                )

    @property
    def pcm(self) -> dict[str, Any]:
        """Format of raw PCM on standard input, as far as it was given."""
        return {name: self.values[name] for name in _PCM if self.values[name] is not None}


_PLAIN = {  # option -> field of Config
    "model": "model",
    "sounds": "sounds",
    "backend": "backend",
    "reconnect": "reconnect",
    "latency_s": "latency_s",
    "format_name": "format",
    "n_top": "top",
}
_PCM = ("rate_hz", "sample_format", "n_channels")


def _metrics(text: str) -> MetricsConfig:
    if text.isascii() and text.isdecimal():
        return MetricsConfig(port=int(text))
    config = MetricsConfig(host=text)
    _, rest = split_scheme(text, ("http",))
    if parse_address(rest.removesuffix("/metrics"))[1] is None:
        raise ValueError(f"{text!r} names no port, as in --metrics 9400")
    return config


def _page(text: str) -> PageConfig:
    if text.isascii() and text.isdecimal():
        return PageConfig(port=int(text))
    host, port = parse_address(text)
    if port is None:
        raise ValueError(f"{text!r} names no port, as in --page 8470")
    return PageConfig(host=host, port=port)


_DESTINATIONS: Mapping[str, Callable[[Any], tuple[str, Spec]]] = {  # option -> (field, settings)
    "json_path": lambda path: ("json", JsonLinesConfig(path=path)),
    "history_path": lambda path: ("history", HistoryConfig(path=path)),
    "mqtt_address": lambda host: ("mqtt", MqttConfig(host=host)),
    "webhook_url": lambda url: ("webhook", WebhookConfig(url=url)),
    "notify_urls": lambda urls: ("notify", NotifyConfig(urls=urls)),
    "clips_folder": lambda path: ("clips", ClipsConfig(folder=path, record=True)),
    "metrics_address": lambda text: ("metrics", _metrics(text)),
    "page_address": lambda text: ("page", _page(text)),
}


def _sources(urls: tuple[str, ...], device: str | None) -> tuple[SourceConfig, ...]:
    if device is None:
        return tuple(SourceConfig(url=url) for url in urls)
    if set(urls) - {"mic", "auto"}:
        raise UsageError("--device belongs to the microphone (--source mic)")
    return (SourceConfig(url="mic", device=device),)


def _merged(base: EventsConfig, given: EventsConfig) -> EventsConfig:
    """`given`, where it says something, over `base`."""
    empty = EventsConfig()
    names = ("only", "exclude", "threshold", "thresholds", "sensitivity")
    told = {n: getattr(given, n) for n in names if getattr(given, n) != getattr(empty, n)}
    return msgspec.structs.replace(base, **told)
