"""Events as MQTT messages, for Home Assistant and whoever else subscribes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from edge_audio.bundle.spec import Sensitivity
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Destination, Sink, Wish
from edge_audio.sinks.level import LevelClock
from edge_audio.sinks.mqtt.config import ClientFactory, MqttConfig
from edge_audio.sinks.mqtt.controls import Controls
from edge_audio.sinks.mqtt.homeassistant import COMPONENTS, Discovery
from edge_audio.sinks.mqtt.link import Link
from edge_audio.sinks.mqtt.told import Told
from edge_audio.sinks.records import event_record
from edge_audio.sources.stream import Stream
from edge_audio.support.address import check_known
from edge_audio.support.arrays import FloatArray
from edge_audio.support.slugs import Slugs, topic_slug, unique_slug

# What others may take for something to do, or what stands beside the streams in topics.
RESERVED = (
    "status",
    "presence",
    "sensitivity",
    "paused",
    "set",
    "get",
    "cmd",
    "command",
    "config",
    "online",
    "offline",
)
_SHARED = (
    "somebody else sends under the topic {!r} too, so that each overwrites the other's states: "
    'give every machine one of its own, such as topic = "edge-audio/attic"'
)


class MqttDestination(Destination[MqttConfig]):
    """A broker for all streams. It may be away at any time, also at the start: events wait for
    it in memory, and states are told anew."""

    def __init__(self, config: MqttConfig) -> None:
        """Raises UsageError where paho-mqtt, the password or the certificates are missing."""
        self._config = config
        self._stream_slugs = Slugs(topic_slug, RESERVED)
        self._sinks: list[_MqttSink] = []
        self._link = Link(config, ClientFactory(config))
        self._link.retain(config.status_topic, "online")
        self._controls: Controls | None = None
        self._control(config)

    @staticmethod
    def check(config: MqttConfig, labels: Sequence[str]) -> None:
        ClientFactory(config)
        check_known(*config.address)

    @property
    def name(self) -> str:
        return f"mqtt {self._config.host}"

    @property
    def n_lost(self) -> int:
        """Events that were not delivered."""
        return self._link.outbox.n_lost

    @property
    def problem(self) -> str:
        reason = self._link.problem
        if not reason:
            return _SHARED.format(self._config.topic) if self._link.is_shared else ""
        fate = "the oldest events are lost" if self._link.outbox.is_full else "events wait"
        host, port = self._config.address
        return f"no connection to {host}, port {port}: {reason}; {fate}"

    def open(self, stream: Stream) -> Sink:
        slug = self._stream_slugs(stream.name)
        self._sinks.append(_MqttSink(stream, slug, self._config, self._link))
        return self._sinks[-1]

    def start(self) -> None:
        """Connects, and says "online". Another connection of the same client would be thrown out
        by the broker, and its will would say "offline" afterwards."""
        self._link.start()

    def reconfigure(self, config: MqttConfig, undo: ExitStack) -> Callable[[], None] | None:
        """Where the topic stays, events that wait go to the broker that is named from now on."""
        if config.topic != self._config.topic:
            return None
        return partial(self._use, config, ClientFactory(config))

    def on_run(self, sensitivity: Sensitivity, is_paused: bool) -> None:
        if self._controls is not None:
            self._controls.tell(sensitivity, is_paused)

    def take_wishes(self) -> list[Wish]:
        return [] if self._controls is None else self._controls.take()

    def _control(self, config: MqttConfig) -> None:
        if self._controls is None and config.controls:
            self._controls = Controls(self._link, config.topic)
        if self._controls is not None:
            self._controls.use(discovery_of(config, "edge-audio"), is_open=config.controls)

    def _use(self, config: MqttConfig, factory: ClientFactory) -> None:
        self._config = config
        self._control(config)
        for sink in self._sinks:
            sink.use(config)
        self._link.use(config, factory)

    def close(self) -> None:
        self._link.close()


def discovery_of(config: MqttConfig, device: str, suffix: str = "") -> Discovery | None:
    """For a device of that name; None where Home Assistant is told nothing. suffix: of what
    identifies it among those of the topic."""
    if not config.discovery_prefix:
        return None
    return Discovery(
        prefix=config.discovery_prefix,
        status_topic=config.status_topic,
        node=f"{unique_slug(config.topic)}{suffix}",
        device=device,
    )


class _MqttSink(Sink):
    def __init__(self, stream: Stream, slug: str, config: MqttConfig, link: Link) -> None:
        """slug: the stream's name in topics."""
        self._stream, self._slug, self._link = stream, slug, link
        self._root = f"{config.topic}/{slug}"
        label_slugs = Slugs(topic_slug)
        self._slugs = {label: label_slugs(label) for label in stream.labels}
        self._sounding: dict[str, bool] = {}  # of the labels that are watched
        self._told = Told(link)
        self._discovery = self._discovery_of(config)
        self._level_clock = LevelClock(self._level_every_s(config))
        self._told.follow(self._own_topics())

    def _discovery_of(self, config: MqttConfig) -> Discovery | None:
        return discovery_of(config, f"edge-audio {self._stream.name}", f"_{self._slug}")

    def _level_every_s(self, config: MqttConfig) -> float:
        """0 = never, as of a device, whose level nobody knows."""
        return config.level_every_s if self._stream.has_audio else 0.0

    def use(self, config: MqttConfig) -> None:
        """Goes on by other settings, of the same topic."""
        before, self._discovery = self._discovery, self._discovery_of(config)
        if before != self._discovery:
            self._told.follow(self._own_topics())
        self._level_clock.every_s = self._level_every_s(config)
        self._announce()

    def on_watch(self, labels: Sequence[str]) -> None:
        """Announces these labels, and takes back what this run or an earlier one said of others."""
        sounding = {label for label, sounds in self._sounding.items() if sounds}
        sounding.update(self._stream.sounding)  # where this sink came while they did
        self._sounding = {label: label in sounding for label in labels}
        self._announce()

    def on_event(self, event: Event) -> None:
        self._sounding[event.label] = event.kind == "start"
        self._told.change(self._state_topic(self._slugs[event.label]), self._state(event.label))
        self._link.put(f"{self._root}/event", json.dumps(event_record(self._stream, event)))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._level_clock.is_due(time_s):
            self._told.change(f"{self._root}/level", f"{self._stream.stats.level_dbfs:.1f}")

    def _own_topics(self) -> tuple[str, ...]:
        """All that this stream retains, or did by other settings."""
        states = (f"{self._root}/+/state", f"{self._root}/level")
        if self._discovery is None:
            return states
        return (*states, *(self._discovery.topic(x, "+") for x in COMPONENTS))

    def _announce(self) -> None:
        messages: dict[str, str] = {}
        for label in self._sounding:
            messages[self._state_topic(self._slugs[label])] = self._state(label)
        has_level = self._level_clock.every_s > 0
        if self._discovery is not None:
            messages |= self._descriptions(self._discovery, has_level)
        self._told.only(messages, kept=[f"{self._root}/level"] if has_level else [])

    def _descriptions(self, discovery: Discovery, has_level: bool) -> dict[str, str]:
        """Topic -> what Home Assistant is told there."""
        labels, events = list(self._sounding), f"{self._root}/event"
        told = {
            discovery.topic("binary_sensor", slug): discovery.sound(
                label, slug, self._state_topic(slug)
            )
            for label, slug in ((label, self._slugs[label]) for label in labels)
        }
        if labels:
            told[discovery.topic("event", "sounds")] = discovery.events("sounds", events, labels)
            told[discovery.topic("sensor", "last")] = discovery.last("last", events)
        if has_level:
            level = discovery.level("level", f"{self._root}/level")
            told[discovery.topic("sensor", "level")] = level
        return told

    def _state(self, label: str) -> str:
        return "ON" if self._sounding[label] else "OFF"

    def _state_topic(self, slug: str) -> str:
        return f"{self._root}/{slug}/state"
