"""Home Assistant finds the labels that are watched, and only those."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.edge_audio.sinks.mqtt.mqtt_parts import (
    ALARM,
    LABELS,
    MARKS,
    SIREN,
    MakeDestination,
    event,
    watching,
)
from tests.support.mqtt_broker import Broker, Subscriber, retained
from tests.support.peers import eventually

pytestmark = MARKS


def test_home_assistant_finds_a_device_with_a_sensor_for_each_label(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    watching(make_destination(broker.port), labels=("Siren", LABELS[1]))
    root = "homeassistant/binary_sensor/edge-audio_kitchen"
    level_topic = "homeassistant/sensor/edge-audio_kitchen/level/config"
    eventually(lambda: subscriber.on(level_topic))
    found = subscriber.latest()
    siren = json.loads(found[f"{root}/siren/config"])
    alarm = json.loads(found[f"{root}/{ALARM}/config"])
    level = json.loads(found[level_topic])
    assert f"{root}/dog/config" not in found
    assert (siren["name"], alarm["name"]) == ("Siren", LABELS[1])
    assert siren["device_class"] == "sound"
    assert siren["state_topic"] == SIREN
    assert level["state_topic"] == "edge-audio/kitchen/level"
    assert siren["device"] == alarm["device"] == level["device"]
    assert {x["availability_topic"] for x in (siren, alarm, level)} == {"edge-audio/status"}
    assert len({x["unique_id"] for x in (siren, alarm, level)}) == 3


def test_labels_that_are_no_longer_watched_disappear_and_the_others_stay_as_they_were(
    broker: Broker, make_destination: MakeDestination
) -> None:
    destination = make_destination(broker.port)
    sink = watching(destination)
    sink.on_event(event(0.5, label="Dog"))
    sink.on_event(event(1.0))
    siren = "homeassistant/binary_sensor/edge-audio_kitchen/siren/config"
    eventually(lambda: {siren, SIREN} <= set(retained(broker.port)))
    sink.on_event(event(2.0, "end"))
    sink.on_watch(["Dog"])
    eventually(lambda: not {siren, SIREN} & set(retained(broker.port)))
    destination.close()
    found = retained(broker.port)
    assert "homeassistant/binary_sensor/edge-audio_kitchen/dog/config" in found
    assert found["edge-audio/kitchen/dog/state"] == "ON"


def test_what_an_earlier_run_announced_is_taken_back(
    broker: Broker, make_destination: MakeDestination
) -> None:
    before = make_destination(broker.port)
    watching(before)
    before.close()
    assert SIREN in retained(broker.port)
    now = make_destination(broker.port, level_every_s=0.0)
    watching(now, labels=["Dog"])
    now.close()
    found = set(retained(broker.port))
    assert found == {
        "edge-audio/status",
        "edge-audio/kitchen/dog/state",
        "homeassistant/binary_sensor/edge-audio_kitchen/dog/config",
    }


def test_home_assistant_is_told_again_when_it_has_started(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    watching(make_destination(broker.port))
    topic = "homeassistant/binary_sensor/edge-audio_kitchen/siren/config"
    eventually(lambda: subscriber.on(SIREN))
    n_before = len(subscriber.on(topic))
    subscriber.client.publish("homeassistant/status", "online", qos=1)
    eventually(lambda: len(subscriber.on(topic)) > n_before)


def test_without_a_prefix_home_assistant_is_left_alone(
    broker: Broker, make_destination: MakeDestination
) -> None:
    destination = make_destination(broker.port, discovery_prefix="")
    watching(destination)
    destination.close()
    assert {topic.split("/")[0] for topic in retained(broker.port)} == {"edge-audio"}
