"""Sensitivity and pause from elsewhere, over a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from edge_audio.bundle.spec import SENSITIVITIES
from edge_audio.sinks.base import Wish
from edge_audio.sinks.mqtt.config import MqttConfig
from tests.edge_audio.sinks.mqtt.mqtt_parts import MARKS, MakeDestination
from tests.support.mqtt_broker import Broker, Subscriber, retained
from tests.support.peers import eventually
from tests.support.reloading import running
from tests.support.shipped import clearest

pytestmark = MARKS
SENSITIVITY, PAUSED = "edge-audio/sensitivity", "edge-audio/paused"


def test_states_are_told_and_commands_become_wishes(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    subscriber.client.publish(f"{PAUSED}/set", "ON", qos=1, retain=True)  # of an earlier day
    eventually(lambda: subscriber.on(f"{PAUSED}/set"))
    destination = make_destination(broker.port)
    destination.on_run("normal", False)
    topics = [f"homeassistant/{x}/edge-audio/run/config" for x in ("select", "switch")]
    eventually(lambda: {SENSITIVITY, PAUSED, *topics} <= set(subscriber.latest()))
    found = subscriber.latest()
    assert (found[SENSITIVITY], found[PAUSED]) == ("normal", "OFF")
    select, switch = (json.loads(found[topic]) for topic in topics)
    assert select["command_topic"] == f"{SENSITIVITY}/set"
    assert switch["command_topic"] == f"{PAUSED}/set"
    assert select["options"] == list(SENSITIVITIES)
    assert select["device"] == switch["device"]
    wishes: list[Wish] = []

    def is_wished(wish: Wish) -> bool:
        wishes.extend(destination.take_wishes())
        return wish in wishes

    for topic, text in ((SENSITIVITY, "loud"), (PAUSED, "on"), (SENSITIVITY, "quiet")):
        subscriber.client.publish(f"{topic}/set", text, qos=1)
    eventually(lambda: is_wished(Wish(sensitivity="quiet")))
    subscriber.client.publish(f"{PAUSED}/set", "ON", qos=1)
    eventually(lambda: is_wished(Wish(is_paused=True)))
    assert wishes == [Wish(sensitivity="quiet"), Wish(is_paused=True)]


def test_without_controls_there_are_none_and_those_of_before_are_taken_back(
    broker: Broker, make_destination: MakeDestination
) -> None:
    before = make_destination(broker.port)
    before.on_run("normal", False)
    before.close()
    assert SENSITIVITY in retained(broker.port)
    now = make_destination(broker.port)
    now.on_run("quiet", False)
    config = MqttConfig(host="127.0.0.1", port=broker.port, topic="edge-audio", controls=False)
    go_on = now.reconfigure(config, ExitStack())
    assert go_on is not None
    go_on()
    eventually(lambda: set(retained(broker.port)) == {"edge-audio/status"})


def test_a_run_does_what_is_asked_of_it(
    broker: Broker, make_subscriber: Callable[..., Subscriber], tmp_path: Path
) -> None:
    subscriber = make_subscriber(broker.port)
    mqtt = f"[mqtt]\nhost = '127.0.0.1'\nport = {broker.port}\ntopic = 'edge-audio'\n"
    demo = 'format = "none"\n[[source]]\nurl = "demo"\n'

    def n_starts() -> int:
        events = [json.loads(text) for text in subscriber.on("edge-audio/demo/event")]
        return sum(event["kind"] == "start" for event in events)

    with running(tmp_path, demo + clearest(8.0).settings + mqtt) as run:
        eventually(lambda: n_starts() > 0)
        subscriber.client.publish(f"{PAUSED}/set", "ON", qos=1)
        eventually(lambda: subscriber.on(PAUSED)[-1:] == ["ON"])
        n_before = n_starts()
        subscriber.client.publish(f"{SENSITIVITY}/set", "eager", qos=1)
        eventually(lambda: subscriber.on(SENSITIVITY)[-1:] == ["eager"])
        assert n_starts() == n_before
        subscriber.client.publish(f"{PAUSED}/set", "OFF", qos=1)
        eventually(lambda: n_starts() > n_before)
        said = run.stop()
    assert "sensitivity: eager" in said
    assert "paused" in said
    events = [json.loads(text) for text in subscriber.on("edge-audio/demo/event")]
    for label in {event["label"] for event in events}:
        kinds = [event["kind"] for event in events if event["label"] == label]
        assert kinds == ["start", "end"] * (len(kinds) // 2)
