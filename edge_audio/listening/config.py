"""Settings of a listening run: one TOML file, or the flags of `edge-audio listen`.

The file's sections are the fields of `Config`; docs/config.md shows all of them.
"""

from __future__ import annotations

import os
import re
from itertools import count
from pathlib import Path
from typing import Literal

from msgspec import field
from msgspec.structs import force_setattr

from edge_audio.backends import BACKEND_NAMES
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.history.destination import HistoryConfig
from edge_audio.listening.events_config import EventsConfig
from edge_audio.page.config import PageConfig
from edge_audio.serial.port import SERIAL_PREFIX, parse_port
from edge_audio.sinks.base import MAX_TOP
from edge_audio.sinks.clips.recorder import ClipsConfig
from edge_audio.sinks.jsonl import JsonLinesConfig
from edge_audio.sinks.log_reader import short_name
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sinks.prometheus import MetricsConfig
from edge_audio.sinks.webhook.destination import WebhookConfig
from edge_audio.sources.network import SCHEMES, check_address, is_network_url, without_password
from edge_audio.sources.resample import MIX, check_channel
from edge_audio.support.paths import expanded
from edge_audio.support.text import printable

MAX_LATENCY_S = 2.0
KEYWORDS = ("mic", "demo", "auto", "-")  # in the place of an address
Format = Literal["live", "text", "jsonl", "none"]


class SourceConfig(Spec, frozen=True):
    """One source of audio, or a device that tags by itself.

    url: mic, demo, auto (a microphone if there is one, else the demo), - for raw PCM on standard
        input, a file's path, the rtsp:// or http:// address of a stream, or serial:PORT[@BAUD].
    name: what records call it; by default made from the url.
    device: which microphone, as `edge-audio devices` lists them.
    channel: of a microphone, file or pipe: mix, loudest, left, right or a number from 1 on.
    """

    url: str = "mic"
    name: str = ""
    device: str | None = None
    channel: str = MIX

    def __post_init__(self) -> None:
        force_setattr(self, "url", _normal_url(self.url))
        if self.device is not None and not self.device.strip():
            raise ValueError("device must not be empty: `edge-audio devices` lists them")
        if self.device is not None and self.url != "mic":
            raise ValueError("device belongs to a microphone (url mic)")
        force_setattr(self, "channel", check_channel(self.channel))
        if self.channel != MIX and (self.is_device or is_network_url(self.url)):
            raise ValueError("channel belongs to microphones, files and pipes")
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
        terminals, whatever a file is called, and not longer than names may be."""
        name = printable(self.name.strip() or self.device or self._name_of_url)
        return short_name(name)

    @property
    def _name_of_url(self) -> str:
        if self.is_device:
            return Path(self.port[0]).name
        if is_network_url(self.url):
            return re.sub(r"\W+", "-", without_password(self.url).partition("://")[2]).strip("-")
        return "stdin" if self.url == "-" else Path(self.url).stem


def _normal_url(url: str) -> str:
    """The address of a source with its keyword or scheme in lower case, or the whole path of a
    file. Raises ValueError."""
    word, scheme = url.lower(), url.partition("://")[0]
    if word in KEYWORDS and (word == url or not os.path.exists(url)):
        return word
    try:
        if word.startswith(SERIAL_PREFIX):
            port = url[len(SERIAL_PREFIX) :]
            return SERIAL_PREFIX + (expanded(port) if port else "")
        if is_network_url(url):
            return f"{scheme.lower()}{url[len(scheme) :]}"
        if "://" in url and re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
            known = ", ".join(f"{each}://" for each in SCHEMES)
            raise ValueError(
                f"begins with {scheme}://, and may begin with {known}; or it is serial:PORT, mic, "
                "demo, auto, - or the path of a file"
            )
        return expanded(url)
    except ValueError as error:
        raise ValueError(f"url {error}") from None


class Config(Spec, frozen=True):
    """A listening run.

    sounds: a file of sounds that were taught, "" if none.
    source: what to hear, at once. reconnect: open live sources again whenever they break.
    latency_s: how much audio of a microphone may wait while nothing sounds, see Rest; of 0 none.
    format: of standard output; "none" writes nothing there. top: also the highest scores.
    json: a file that events are appended to as well. history, mqtt, webhook, notify, clips,
        metrics, page: other destinations, docs/sinks.md.
    """

    model: str = "tiny-int8"
    sounds: str = ""
    backend: str = "auto"
    source: tuple[SourceConfig, ...] = (SourceConfig(),)
    reconnect: bool = True
    latency_s: float = 0.32
    format: Format = "live"
    top: int | None = None
    events: EventsConfig = field(default_factory=EventsConfig)
    json: JsonLinesConfig | None = None
    history: HistoryConfig | None = None
    mqtt: MqttConfig | None = None
    webhook: WebhookConfig | None = None
    notify: NotifyConfig | None = None
    clips: ClipsConfig | None = None
    metrics: MetricsConfig | None = None
    page: PageConfig | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "backend", self.backend.lower())
        if self.backend not in ("auto", *BACKEND_NAMES):
            raise ValueError(f"backend must be one of auto, {', '.join(BACKEND_NAMES)}")
        if not self.source:
            raise ValueError("name at least one [[source]]")
        if sum(source.url == "-" for source in self.source) > 1:
            raise ValueError("standard input can be heard once")
        if not 0.0 <= self.latency_s <= MAX_LATENCY_S:
            raise ValueError(f"latency_s must be within 0 and {MAX_LATENCY_S:g}")
        if self.top is not None and not 1 <= self.top <= MAX_TOP:
            raise ValueError(f"top must be within 1 and {MAX_TOP}")
        self._expand("model")
        if self.sounds:
            self._expand("sounds")

    def _expand(self, name: str) -> None:
        """A shipped model has a name, without ~ and $; a bundle's folder, or a file, may have
        them."""
        try:
            force_setattr(self, name, expanded(getattr(self, name)))
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None

    @property
    def names(self) -> list[str]:
        """Of each source, in their order; those that would have the same are numbered."""
        names: list[str] = []
        taken = {source.shown_name for source in self.source}
        for name in (source.shown_name for source in self.source):
            numbered = (f"{name}-{n}" for n in count(2))
            free = (each for each in numbered if each not in taken)
            names.append(next(free) if name in names else name)
            taken.add(names[-1])
        return names
