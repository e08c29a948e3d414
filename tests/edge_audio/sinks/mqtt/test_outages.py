"""Events wait for a broker that is away or hangs, in order; what finds no room is counted."""

from __future__ import annotations

from collections.abc import Callable

from edge_audio.sinks.outbox import Outbox
from tests.edge_audio.sinks.mqtt.mqtt_parts import (
    CONNACK,
    EVENTS,
    MARKS,
    SIREN,
    MakeDestination,
    ScriptedBroker,
    event,
    times_s,
    watching,
)
from tests.support.mqtt_broker import Broker, Subscriber, retained
from tests.support.peers import eventually

pytestmark = MARKS


def test_events_wait_in_order_for_a_broker_that_is_not_there_yet(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, EVENTS)
    broker.stop()
    destination = make_destination(broker.port)
    sink = watching(destination)
    for i in range(50):
        sink.on_event(event(float(i)))
    eventually(lambda: "connection refused; events wait" in destination.problem)
    broker.start()
    eventually(lambda: len(times_s(subscriber)) == 50)
    assert times_s(subscriber) == [float(i) for i in range(50)]
    assert (destination.problem, destination.n_lost) == ("", 0)


def test_nothing_is_lost_and_states_are_told_anew_when_a_broker_is_back(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, EVENTS)
    destination = make_destination(broker.port)
    sink = watching(destination)
    for i in range(50):
        sink.on_event(event(float(i)))
    eventually(lambda: len(times_s(subscriber)) == 50)
    broker.stop()
    for i in range(50, 100):
        sink.on_event(event(float(i), label="Dog"))
    sink.on_event(event(100.0, "end"))
    eventually(lambda: destination.problem)
    broker.start()
    eventually(lambda: len(times_s(subscriber)) == 101)
    assert times_s(subscriber) == [float(i) for i in range(101)]
    assert destination.n_lost == 0
    found = retained(broker.port)
    assert (found[SIREN], found["edge-audio/kitchen/dog/state"]) == ("OFF", "ON")
    assert found["edge-audio/status"] == "online"


def test_what_was_under_way_when_a_broker_hung_is_sent_again(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, EVENTS)
    destination = make_destination(broker.port, keepalive_s=1)
    sink = watching(destination)
    sink.on_event(event(0.0))
    eventually(lambda: times_s(subscriber))
    with broker.frozen():
        for i in range(1, 100):
            sink.on_event(event(float(i)))
        eventually(lambda: "no answer for 1 s" in destination.problem)
    eventually(lambda: len(times_s(subscriber)) == 100)
    assert times_s(subscriber) == [float(i) for i in range(100)]
    assert destination.n_lost == 0


def test_what_a_broker_took_without_confirming_it_is_sent_again_in_order(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, EVENTS)
    broker.stop()
    careless = ScriptedBroker([CONNACK], broker.port)
    destination = make_destination(broker.port)
    sink = watching(destination)
    for i in range(50):
        sink.on_event(event(float(i)))
    careless.wait()
    broker.start()
    eventually(lambda: len(times_s(subscriber)) == 50)
    assert times_s(subscriber) == [float(i) for i in range(50)]
    assert destination.n_lost == 0


def test_where_too_many_events_wait_the_oldest_are_lost_and_counted(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, EVENTS)
    broker.stop()
    destination = make_destination(broker.port, buffer=10)
    sink = watching(destination)
    for i in range(25):
        sink.on_event(event(float(i)))
    eventually(lambda: "the oldest events are lost" in destination.problem)
    assert destination.n_lost == 15
    broker.start()
    eventually(lambda: len(times_s(subscriber)) == 10)
    assert times_s(subscriber) == [float(i) for i in range(15, 25)]


def test_what_a_broker_does_not_confirm_counts_as_waiting(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, EVENTS)
    destination = make_destination(broker.port, buffer=10)
    sink = watching(destination)

    def lost_one() -> bool:
        sink.on_event(event(1.0))
        return destination.n_lost > 0

    sink.on_event(event(0.0))
    eventually(lambda: times_s(subscriber))
    with broker.frozen():
        eventually(lost_one)


def test_states_that_wait_take_no_more_room_than_their_topics() -> None:
    outbox = Outbox(10)
    for i in range(1000):
        outbox.retain(f"topic {i % 5}", str(i))
    assert len(outbox) <= 15
    latest = dict(message[:2] for message in iter(outbox.take, None))
    assert latest == {f"topic {i % 5}": str(i) for i in range(995, 1000)}
