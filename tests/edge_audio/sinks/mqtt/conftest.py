"""A broker, and destinations and subscribers that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.mqtt.sink import MqttDestination
from tests.edge_audio.sinks.mqtt.mqtt_parts import MakeDestination
from tests.support.mqtt_broker import Broker, Subscriber


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker")
    made.start()
    yield made
    made.close()


@pytest.fixture
def make_destination() -> Iterator[MakeDestination]:
    """Destinations that are closed after the test."""
    made: list[MqttDestination] = []

    def make(port: int, **settings: Any) -> MqttDestination:
        common = {"host": "127.0.0.1", "port": port, "topic": "edge-audio"}
        made.append(MqttDestination(MqttConfig(**{**common, **settings})))
        made[-1].start()
        return made[-1]

    yield make
    for destination in made:
        destination.close()


@pytest.fixture
def make_subscriber() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(port: int, *topics: str, **login: str) -> Subscriber:
        made.append(Subscriber(port, *topics, **login))
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()
