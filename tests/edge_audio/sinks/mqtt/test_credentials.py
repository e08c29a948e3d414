"""Passwords and certificates: who is let in, who is told nothing, and what never shows."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.mqtt.sink import MqttDestination
from tests.edge_audio.sinks.mqtt.mqtt_parts import MARKS, SIREN, MakeDestination, event, watching
from tests.support.mqtt_broker import Broker, Subscriber
from tests.support.peers import all_that_it_holds, eventually, make_certificates

pytestmark = MARKS


def test_a_wrong_password_is_a_problem_that_does_not_tell_it(
    tmp_path: Path, make_destination: MakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "ear", "right-one"], check=True)
    broker = Broker(tmp_path / "broker", "allow_anonymous false", f"password_file {users}")
    monkeypatch.setenv("MQTT_PASSWORD", "wrong-one")
    with contextlib.closing(broker):
        broker.start()
        login = {"username": "ear", "password_env": "MQTT_PASSWORD"}
        wrong = make_destination(broker.port, **login)
        eventually(lambda: "Not authorized" in wrong.problem)
        shown = f"{wrong.problem} {all_that_it_holds(wrong)}"
        assert "wrong-one" not in shown
        monkeypatch.setenv("MQTT_PASSWORD", "right-one")
        sink = watching(make_destination(broker.port, client_id="another", **login))
        sink.on_event(event(1.0))
        subscriber = Subscriber(broker.port, username="ear", password="right-one")
        eventually(lambda: subscriber.on(SIREN)[-1:] == ["ON"])
        subscriber.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    return make_certificates(tmp_path / "certificates")


@pytest.fixture
def tls_broker(tmp_path: Path, certificates: Path) -> Iterator[Broker]:
    pair = (f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key")
    made = Broker(tmp_path / "tls", "allow_anonymous true", *pair)
    made.start()
    yield made
    made.close()


def test_events_travel_by_tls(
    tls_broker: Broker, certificates: Path, make_destination: MakeDestination
) -> None:
    ca_file = str(certificates / "ca.pem")
    destination = make_destination(tls_broker.port, tls=True, ca_file=ca_file)
    sink = watching(destination)
    for i in range(100):
        sink.on_event(event(float(i)))
    destination.close()
    assert (destination.n_lost, destination.problem) == (0, "")


@pytest.mark.parametrize(
    ("host", "ca", "said"),
    [("127.0.0.1", "other.pem", "certificate"), ("localhost", "ca.pem", "Hostname mismatch")],
)
def test_a_broker_with_a_strange_certificate_gets_nothing(
    tls_broker: Broker,
    certificates: Path,
    make_destination: MakeDestination,
    host: str,
    ca: str,
    said: str,
) -> None:
    ca_file = str(certificates / ca)
    destination = make_destination(tls_broker.port, host=host, tls=True, ca_file=ca_file)
    watching(destination).on_event(event(1.0))
    eventually(lambda: said in destination.problem)
    destination.close()
    assert destination.n_lost == 1


def test_a_password_or_certificate_that_is_missing_is_refused_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (empty, tmp_path / "absent.pem"):
        with pytest.raises(UsageError, match="certificates"):
            MqttDestination(MqttConfig(tls=True, ca_file=str(path)))
    with pytest.raises(UsageError, match="EDGE_AUDIO_ABSENT"):
        MqttDestination(MqttConfig(username="ear", password_env="EDGE_AUDIO_ABSENT"))
