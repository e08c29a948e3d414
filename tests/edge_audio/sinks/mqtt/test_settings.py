"""Settings of the MQTT sink, and the library that it needs."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from typing import Any

import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.mqtt.config import MqttConfig, default_client_id
from edge_audio.sinks.mqtt.sink import MqttDestination
from tests.edge_audio.sinks.mqtt.mqtt_parts import MARKS

pytestmark = MARKS


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"host": "two words"},
        {"host": "broker:1883", "port": 1884},
        {"host": "broker:0"},
        {"host": "a..b"},
        {"host": "udp://broker"},
        {"host": "mqtt://ear:secret@broker"},
        {"port": 0},
        {"topic": ""},
        {"topic": "sounds/#"},
        {"topic": "a+b"},
        {"topic": "/sounds"},
        {"topic": "a\0b"},
        {"topic": "$SYS/a"},
        {"discovery_prefix": "home/"},
        {"client_id": "a\nb"},
        {"password_env": "PASSWORD"},
        {"username": "ear", "password_env": "A", "password_file": "b"},
        {"ca_file": "ca.pem"},
        {"buffer": 0},
        {"keepalive_s": 0},
        {"level_every_s": -1.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|need|belongs|not both|keep one|no number"):
        MqttConfig(**wrong)


def test_the_usual_port_depends_on_tls() -> None:
    assert MqttConfig().address == ("localhost", 1883)
    assert MqttConfig(tls=True).address == ("localhost", 8883)
    assert MqttConfig(tls=True, port=443).address == ("localhost", 443)


def test_without_paho_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(UsageError, match=r"pip install 'edge-audio\[mqtt\]'"):
        MqttDestination(MqttConfig())


def test_paho_is_loaded_only_when_it_is_needed() -> None:
    code = "import sys, edge_audio.sinks.mqtt.sink; print('paho' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("host", "address", "tls"),
    [
        ("broker:1884", ("broker", 1884), False),
        ("[::1]", ("::1", 1883), False),
        ("[::1]:1885", ("::1", 1885), False),
        ("mqtt://broker", ("broker", 1883), False),
        ("MQTT://broker:1886/", ("broker", 1886), False),
        ("mqtts://broker", ("broker", 8883), True),
        ("mqtts://[::1]:1887", ("::1", 1887), True),
    ],
)
def test_a_host_may_be_written_as_an_address(
    host: str, address: tuple[str, int], tls: bool
) -> None:
    config = MqttConfig(host=host)
    assert (config.address, config.tls) == (address, tls)


def test_unknown_beginnings_of_a_host_name_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"mqtt:// or mqtts://.* not udp://"):
        MqttConfig(host="udp://broker")
    with pytest.raises(ValueError, match="no user and password") as caught:
        MqttConfig(host="mqtt://ear:secret@broker")
    assert "secret" not in str(caught.value)


def test_clients_have_ids_of_their_own_on_a_host_and_between_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = ("кухня", "гараж", "🏠", "家", "home/attic", "home-attic", "Home/Attic", "edge-audio")
    found = set()
    for machine in ("one", "two"):
        monkeypatch.setattr("edge_audio.sinks.mqtt.config.machine_id", lambda name=machine: name)
        found |= {default_client_id(topic) for topic in topics}
    assert len(found) == 2 * len(topics)
    assert all(re.fullmatch("[a-z0-9-]+", each) for each in found)
    assert default_client_id("кухня") == default_client_id("кухня")


def test_a_topic_has_the_name_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, topic in (("Attic.local", "edge-audio/attic-local"), ("_", "edge-audio/unnamed")):
        monkeypatch.setattr("socket.gethostname", partial(str, name))
        assert MqttConfig().topic == MqttConfig(topic="edge-audio/{host}").topic == topic
