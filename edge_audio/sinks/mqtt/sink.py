"""Events as MQTT messages, for Home Assistant and whoever else subscribes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sinks.mqtt.config import ClientFactory, MqttConfig
from edge_audio.sinks.mqtt.homeassistant import Discovery, slug_of
from edge_audio.sinks.mqtt.link import Link
from edge_audio.sinks.records import event_record
from edge_audio.sinks.slugs import Slugs
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray

__all__ = ["MqttConfig", "MqttDestination"]


class MqttDestination:
    """A broker for all streams. It may be away at any time, also at the start: events wait for
    it in memory, and states are told anew."""

    def __init__(self, config: MqttConfig) -> None:
        """Raises UsageError where paho-mqtt, the password or the certificates are missing."""
        self.name = f"mqtt {config.host}"
        self._config = config
        self._stream_slugs = Slugs(slug_of)
        self._link = Link(config, ClientFactory(config))
        self._link.retain(config.status_topic, "online")

    @property
    def n_lost(self) -> int:
        """Events that were not delivered."""
        return self._link.outbox.n_dropped

    @property
    def problem(self) -> str:
        reason = self._link.problem
        if not reason:
            return ""
        fate = "the oldest events are lost" if self._link.outbox.is_full else "events wait"
        host, port = self._config.address
        return f"no connection to {host}, port {port}: {reason}; {fate}"

    def open(self, stream: Stream) -> Sink:
        return _MqttSink(stream, self._stream_slugs(stream.name), self._config, self._link)

    def close(self) -> None:
        self._link.close()


class _MqttSink(Sink):
    def __init__(self, stream: Stream, slug: str, config: MqttConfig, link: Link) -> None:
        """slug: the stream's name in topics."""
        self._stream, self._link = stream, link
        self._root = f"{config.topic}/{slug}"
        label_slugs = Slugs(slug_of)
        self._slugs = {label: label_slugs(label) for label in stream.labels}
        self._sounding: dict[str, bool] = {}  # of the labels that are watched
        self._discovery: Discovery | None = None
        if config.discovery_prefix:
            node = f"{slug_of(config.topic)}_{slug}"
            names = (node, f"edge-audio {stream.name}")
            self._discovery = Discovery(config.discovery_prefix, config.status_topic, *names)
        self._level_every_s = config.level_every_s
        self._next_level_s = 0.0

    def on_watch(self, labels: Sequence[str]) -> None:
        """Announces these labels, and takes back all others: an earlier run may have left them."""
        before = self._sounding
        self._sounding = {label: before.get(label, False) for label in labels}
        for label, slug in self._slugs.items():
            self._tell_label(label, slug)
        self._tell_level()

    def on_event(self, event: Event) -> None:
        self._sounding[event.label] = event.kind == "start"
        self._link.retain(self._state_topic(self._slugs[event.label]), self._state(event.label))
        self._link.put(f"{self._root}/event", json.dumps(event_record(self._stream, event)))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._level_every_s and time_s >= self._next_level_s:
            self._next_level_s = time_s + self._level_every_s
            self._link.retain(f"{self._root}/level", f"{self._stream.stats.level_dbfs:.1f}")

    def _tell_label(self, label: str, slug: str) -> None:
        is_watched = label in self._sounding
        state_topic = self._state_topic(slug)
        if self._discovery is not None:
            description = self._discovery.sound(label, slug, state_topic) if is_watched else ""
            self._link.retain(self._discovery.topic("binary_sensor", slug), description)
        self._link.retain(state_topic, self._state(label) if is_watched else "")

    def _tell_level(self) -> None:
        topic, is_watched = f"{self._root}/level", self._level_every_s > 0
        if self._discovery is not None:
            description = self._discovery.level("level", topic) if is_watched else ""
            self._link.retain(self._discovery.topic("sensor", "level"), description)
        if not is_watched:
            self._link.retain(topic, "")

    def _state(self, label: str) -> str:
        return "ON" if self._sounding[label] else "OFF"

    def _state_topic(self, slug: str) -> str:
        return f"{self._root}/{slug}/state"
