"""Settings of a listening run: one TOML file, or the flags of `edge-audio listen`.

The file's sections are the fields of `Config`; docs/config.md shows all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
from msgspec import field

from edge_audio.backends import BACKEND_NAMES
from edge_audio.bundle.spec import EventSpec, Sensitivity, Spec
from edge_audio.errors import UsageError
from edge_audio.events.choice import select_events
from edge_audio.events.policy import PolicySpec, Related
from edge_audio.features.gate import MAX_DBFS, MIN_DBFS, is_level
from edge_audio.serial.port import parse_port
from edge_audio.sinks.base import TopLabels
from edge_audio.sinks.clips.recorder import ClipsConfig
from edge_audio.sinks.jsonl import JsonLinesConfig
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.prometheus import MetricsConfig
from edge_audio.sinks.webhook.destination import WebhookConfig
from edge_audio.sources.network import check_address, is_network_url, without_password
from edge_audio.support.plain_files import open_plain, reason_of
from edge_audio.support.text import printable

MAX_CONFIG_BYTES = 1 << 20
SERIAL_PREFIX = "serial:"
Format = Literal["live", "text", "jsonl", "none"]


class SourceConfig(Spec, frozen=True):
    """One source of audio, or a device that tags by itself.

    url: mic, demo, auto (a microphone if there is one, else the demo), - for raw PCM on standard
        input, a file's path, the rtsp:// or http:// address of a stream, or serial:PORT[@BAUD].
    name: what records call it; by default made from the url.
    device: which microphone, as `edge-audio devices` lists them.
    """

    url: str = "mic"
    name: str = ""
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError("url must not be empty")
        if self.device is not None and self.url != "mic":
            raise ValueError("device belongs to a microphone (url mic)")
        if is_network_url(self.url):
            check_address(self.url)
        if self.is_device:
            self.port  # noqa: B018 - which is checked

    @property
    def is_device(self) -> bool:
        """Whether this tags by itself, with a model of its own."""
        return self.url.startswith(SERIAL_PREFIX)

    @property
    def port(self) -> tuple[str, int]:
        """Serial port and baud rate of a device. Raises ValueError."""
        try:
            return parse_port(self.url.removeprefix(SERIAL_PREFIX))
        except UsageError as error:
            raise ValueError(str(error)) from None

    @property
    def shown_name(self) -> str:
        """The name, or one made from the device or url, without user and password; harmless to
        terminals, whatever a file is called."""
        return printable(self.name or self.device or self._name_of_url)

    @property
    def _name_of_url(self) -> str:
        if self.is_device:
            return Path(self.port[0]).name
        if is_network_url(self.url):
            return re.sub(r"\W+", "-", without_password(self.url).partition("://")[2]).strip("-")
        return "stdin" if self.url == "-" else Path(self.url).stem


class EventsConfig(Spec, frozen=True):
    """What becomes an event: changes to the model's own settings, see EventSpec, and what follows
    on them, see PolicySpec and LevelGate.

    only: report these labels alone. exclude: never these. sensitivity: which of the model's own
    thresholds count; None = those of `normal`. threshold: `on` for all watched labels.
    thresholds: label -> `on`, which also switches on labels that are off by default.
    gate_dbfs: level below which the model hears nothing; None = it always hears.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sensitivity: Sensitivity | None = None
    threshold: float | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    smoothing_s: float | None = None
    min_on_s: float | None = None
    min_off_s: float | None = None
    cooldown_s: float = 0.0
    max_s: float = 0.0
    related: Related = "all"
    gate_dbfs: float | None = None

    def __post_init__(self) -> None:
        self.policy()
        if not is_level(self.gate_dbfs):
            raise ValueError(f"gate_dbfs must be within {MIN_DBFS:g} and {MAX_DBFS:g}")

    def policy(self) -> PolicySpec:
        """Which of the detected events are reported. Raises ValueError."""
        return PolicySpec(cooldown_s=self.cooldown_s, max_s=self.max_s, related=self.related)

    def apply(self, spec: EventSpec, labels: Sequence[str]) -> EventSpec:
        """The model's settings as changed. Raises UsageError."""
        spec = spec.at_sensitivity(self.sensitivity)
        watched = dict.fromkeys([*spec.thresholds, *self.only])
        common = {} if self.threshold is None else dict.fromkeys(watched, self.threshold)
        pairs = [*common.items(), *self.thresholds.items()]
        on = {label.casefold(): value for label, value in pairs}
        chosen = select_events(spec, labels, self.only, self.exclude, on or None)
        names = ("smoothing_s", "min_on_s", "min_off_s")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        try:
            return msgspec.structs.replace(chosen, **given)
        except ValueError as error:
            raise UsageError(f"events: {error}") from error

    def top(self, labels: Sequence[str], n_top: int) -> TopLabels:
        """Ranks the labels that are left; to be called when `apply` accepted them."""
        return TopLabels(labels, n_top, self.wanted(labels))

    def wanted(self, labels: Sequence[str]) -> frozenset[str]:
        """Labels that `only` and `exclude` leave, watched or not."""
        only = {label.casefold() for label in self.only or labels}
        only -= {label.casefold() for label in self.exclude}
        return frozenset(label for label in labels if label.casefold() in only)


class Config(Spec, frozen=True):
    """A listening run.

    source: what to hear, at once. reconnect: open live sources again whenever they break.
    format: of standard output; "none" writes nothing there. top: also the highest scores.
    json: a file that events are appended to as well. mqtt, webhook, clips, metrics: other
        destinations, docs/sinks.md.
    """

    model: str = "tiny-int8"
    backend: str = "auto"
    source: tuple[SourceConfig, ...] = (SourceConfig(),)
    reconnect: bool = True
    format: Format = "live"
    top: int | None = None
    events: EventsConfig = field(default_factory=EventsConfig)
    json: JsonLinesConfig | None = None
    mqtt: MqttConfig | None = None
    webhook: WebhookConfig | None = None
    clips: ClipsConfig | None = None
    metrics: MetricsConfig | None = None

    def __post_init__(self) -> None:
        if self.backend not in ("auto", *BACKEND_NAMES):
            raise ValueError(f"backend must be one of auto, {', '.join(BACKEND_NAMES)}")
        if not self.source:
            raise ValueError("name at least one [[source]]")
        names = [source.shown_name for source in self.source]
        if len(set(names)) < len(names):
            raise ValueError("sources must have different names: give each [[source]] a name")
        if sum(source.url == "-" for source in self.source) > 1:
            raise ValueError("standard input can be heard once")
        if self.top is not None and self.top < 1:
            raise ValueError("top must be at least 1")


@dataclass(frozen=True)
class SettingsFile:
    """A file of settings that may be read again. with_flags: puts what was given on the command
    line in the place of what the file says."""

    path: Path
    with_flags: Callable[[Config], Config] = lambda config: config

    def read(self) -> Config:
        """Raises UsageError."""
        return self.with_flags(load_config(self.path))

    def read_again(self) -> Config:
        """Raises UsageError, also for a pipe, which has been read, and for a file without a word:
        an editor or a full disk may leave one, and nobody means it to end all destinations."""
        try:
            with open_plain(self.path) as file:
                raw = _content(file, self.path)
        except OSError as error:
            raise UsageError(f"cannot read {self.path} again: {reason_of(error)}") from error
        if not raw.strip():
            raise UsageError(f"{self.path} is empty")
        return self.with_flags(_decoded(raw, self.path))


def load_config(path: Path) -> Config:
    """Reads a TOML file, or a pipe. Raises UsageError with the section and field that is wrong."""
    try:
        with path.open("rb") as file:
            return _decoded(_content(file, path), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _content(file: BinaryIO, path: Path) -> bytes:
    raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise UsageError(f"{path} is larger than 1 MiB: that is no file of settings")
    return raw


def _decoded(raw: bytes, path: Path) -> Config:
    try:
        return msgspec.toml.decode(raw, type=Config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise UsageError(f"{path}: {error}; docs/config.md has all settings") from error
