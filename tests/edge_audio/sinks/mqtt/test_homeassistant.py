"""Home Assistant finds the labels that are watched, and only those."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

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
EVENT_AND_LAST = ("event/edge-audio_kitchen/sounds", "sensor/edge-audio_kitchen/last")


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
    expected = {
        "edge-audio/status",
        "edge-audio/kitchen/dog/state",
        "homeassistant/binary_sensor/edge-audio_kitchen/dog/config",
        "homeassistant/event/edge-audio_kitchen/sounds/config",
        "homeassistant/sensor/edge-audio_kitchen/last/config",
    }
    eventually(lambda: set(retained(broker.port)) == expected)
    now.close()
    assert set(retained(broker.port)) == expected


def test_nothing_is_said_of_labels_that_are_not_watched(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    """Where there was nothing before, not even that there is nothing."""
    subscriber = make_subscriber(broker.port)
    destination = make_destination(broker.port)
    watching(destination, labels=["Siren"])
    destination.close()
    eventually(lambda: "offline" in subscriber.on("edge-audio/status"))
    topics = [topic for topic, _ in subscriber.messages if topic.endswith(("/state", "/config"))]
    assert len(topics) == len(set(topics)) == 5
    assert not any(payload == "" for _, payload in subscriber.messages)


def test_the_last_sound_and_an_event_for_all_of_them(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    watching(make_destination(broker.port), labels=("Siren", "Dog"))
    topics = [f"homeassistant/{x}/config" for x in EVENT_AND_LAST]
    eventually(lambda: all(subscriber.on(topic) for topic in topics))
    events, last = (json.loads(subscriber.latest()[topic]) for topic in topics)
    assert events["event_types"] == ["Siren", "Dog"]
    assert events["state_topic"] == last["state_topic"] == "edge-audio/kitchen/event"
    start, end = ({"kind": kind, "label": "Dog", "score": 0.5} for kind in ("start", "end"))
    state = SimpleNamespace(state="Siren")

    jinja2 = pytest.importorskip("jinja2", reason="renders Home Assistant's templates")

    def rendered(description: Mapping[str, str], record: Mapping[str, object]) -> str:
        """As Home Assistant does, whose templates are Jinja's."""
        template = jinja2.Environment(autoescape=False).from_string(description["value_template"])
        return str(template.render(value_json=record, this=state))

    assert json.loads(rendered(events, start)) == {"event_type": "Dog", "score": 0.5}
    assert rendered(events, end) == ""
    assert (rendered(last, start), rendered(last, end)) == ("Dog", "Siren")


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
