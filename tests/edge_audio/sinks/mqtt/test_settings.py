"""Settings of the MQTT sink, and the library that it needs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.mqtt.sink import MqttDestination
from tests.edge_audio.sinks.mqtt.mqtt_parts import MARKS

pytestmark = MARKS


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": ""},
        {"host": "two words"},
        {"host": "broker:1883"},
        {"host": "[::1]"},
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
    with pytest.raises(ValueError, match=r"must|need|belongs|not both"):
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
