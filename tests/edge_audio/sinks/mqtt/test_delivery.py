"""Events and states reach a real broker and its subscribers, on the topics that are theirs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.mqtt.sink import MqttDestination
from tests.edge_audio.sinks.mqtt.mqtt_parts import (
    ALARM,
    EVENTS,
    LABELS,
    MARKS,
    SIREN,
    MakeDestination,
    event,
    stream,
    times_s,
    watching,
)
from tests.support.mqtt_broker import Broker, Subscriber, retained
from tests.support.peers import eventually

pytestmark = MARKS


def test_events_and_states_reach_a_subscriber(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    sink = watching(make_destination(broker.port))
    eventually(lambda: subscriber.states(SIREN) == ["OFF"])
    sink.on_event(event(1.0))
    sink.on_event(event(2.5, "end"))
    eventually(lambda: len(subscriber.on(EVENTS)) == 2)
    first, second = (json.loads(text) for text in subscriber.on(EVENTS))
    assert "at" in first
    fields = {"label": "Siren", "score": 0.75, "stream": "kitchen"}
    assert fields.items() <= first.items()
    assert (first["kind"], first["time_s"]) == ("start", 1.0)
    assert (second["kind"], second["time_s"]) == ("end", 2.5)
    eventually(lambda: subscriber.states(SIREN) == ["OFF", "ON", "OFF"])
    assert subscriber.states(f"edge-audio/kitchen/{ALARM}/state") == ["OFF"]


def test_states_are_retained_and_events_are_not(
    broker: Broker, make_destination: MakeDestination
) -> None:
    sink = watching(make_destination(broker.port))
    sink.on_event(event(1.0))
    eventually(lambda: retained(broker.port).get(SIREN) == "ON")
    found = retained(broker.port)
    assert found["edge-audio/status"] == "online"
    assert found["edge-audio/kitchen/dog/state"] == "OFF"
    assert EVENTS not in found


def test_streams_have_topics_of_their_own(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    destination = make_destination(broker.port, topic="home/sounds")
    names = ("Yard #1", "yard/1", "+")
    for i, name in enumerate(names):
        watching(destination, name).on_event(event(float(i)))
    roots = ("home/sounds/yard-1", "home/sounds/yard-1-2", "home/sounds/unnamed")
    for name, root in zip(names, roots, strict=True):
        eventually(partial(subscriber.on, f"{root}/event"))
        assert json.loads(subscriber.on(f"{root}/event")[0])["stream"] == name


def test_the_level_is_told_every_few_seconds(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, "edge-audio/#")
    heard = stream()
    heard.stats.level_dbfs = -42.25
    sink = make_destination(broker.port, level_every_s=5.0).open(heard)
    eventually(lambda: subscriber.on("edge-audio/status"))
    for step in range(12):
        sink.on_scores(float(step), None)  # type: ignore[arg-type]
    eventually(lambda: len(subscriber.on("edge-audio/kitchen/level")) == 3)
    assert set(subscriber.on("edge-audio/kitchen/level")) == {"-42.2"}


def test_closing_delivers_what_waits_and_then_the_status_is_offline(
    broker: Broker, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, "edge-audio/#")
    destination = MqttDestination(MqttConfig(port=broker.port, topic="edge-audio"))
    destination.start()
    sink = watching(destination)
    for i in range(200):
        sink.on_event(event(float(i)))
    destination.close()
    eventually(lambda: subscriber.messages[-1] == ("edge-audio/status", "offline"))
    assert times_s(subscriber) == [float(i) for i in range(200)]
    assert destination.n_lost == 0


LISTENER = """
import sys, time
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.mqtt.sink import MqttDestination
destination = MqttDestination(MqttConfig(port=int(sys.argv[1]), topic="edge-audio"))
destination.start()
time.sleep(60)
"""


def test_the_broker_tells_when_a_process_was_killed(
    broker: Broker, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, "edge-audio/status")
    with subprocess.Popen([sys.executable, "-c", LISTENER, str(broker.port)]) as process:
        eventually(lambda: subscriber.states("edge-audio/status") == ["online"])
        process.kill()
    eventually(lambda: subscriber.states("edge-audio/status") == ["online", "offline"])
    assert retained(broker.port)["edge-audio/status"] == "offline"


def test_a_sink_that_comes_while_a_label_sounds_says_so(
    broker: Broker, make_destination: MakeDestination
) -> None:
    heard = stream()
    heard.begin("Dog", 0.0)
    sink = make_destination(broker.port).open(heard)
    sink.on_watch(LABELS[:2])
    eventually(lambda: retained(broker.port).get("edge-audio/kitchen/dog/state") == "ON")


def test_nothing_is_sent_before_the_start(broker: Broker) -> None:
    destination = MqttDestination(
        MqttConfig(host="127.0.0.1", port=broker.port, topic="edge-audio")
    )
    watching(destination).on_event(event(1.0))
    time.sleep(0.3)
    destination.close()
    assert retained(broker.port) == {}
    assert destination.n_lost == 1


def _says(destination: MqttDestination, text: str) -> bool:
    return text in destination.problem


def test_two_that_send_under_one_topic_say_so(
    broker: Broker, make_destination: MakeDestination
) -> None:
    alone = make_destination(broker.port, topic="edge-audio/attic")
    here = make_destination(broker.port)
    eventually(lambda: retained(broker.port).get("edge-audio/status") == "online")
    assert (alone.problem, here.problem) == ("", "")
    there = make_destination(broker.port, client_id="of-another-machine")
    for one in (here, there):
        eventually(partial(_says, one, "under the topic 'edge-audio' too"))
        assert 'such as topic = "edge-audio/attic"' in one.problem
    assert alone.problem == ""


def test_a_restart_is_nobody_else(broker: Broker, make_destination: MakeDestination) -> None:
    before = make_destination(broker.port)
    eventually(lambda: retained(broker.port).get("edge-audio/status") == "online")
    before.close()
    now = make_destination(broker.port)
    eventually(lambda: retained(broker.port).get("edge-audio/status") == "online")
    time.sleep(0.5)
    assert now.problem == ""
