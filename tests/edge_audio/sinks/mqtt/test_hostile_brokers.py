"""Brokers that mean harm neither end the delivery nor fill the memory."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_audio.sinks.mqtt import link as mqtt_link
from tests.edge_audio.sinks.mqtt.mqtt_parts import (
    CONNACK,
    MARKS,
    SIREN,
    MakeDestination,
    ScriptedBroker,
    event,
    watching,
)
from tests.support.mqtt_broker import Broker, Subscriber, retained
from tests.support.peers import eventually, peer_of

pytestmark = MARKS

ODD_REPLIES = (
    b"",
    b"\x20",
    CONNACK[:3],
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x20\x02\x00\xff",  # refused for no known reason
    b"\x20\x02\x00\x01",  # another version of the protocol
    b"\x20\x03\x00\x00\x00",
    b"\x20\xff\xff\xff\xff\xff",  # a length of more than four bytes
    b"\x20\xff\xff\xff\x7f",  # 256 MiB are to follow
    CONNACK + CONNACK,
    CONNACK + b"\x40\x02\xff\xff",  # confirms what was not sent
    CONNACK + b"\x90\x00",
    CONNACK + b"\x30\x02\xff\xff",  # a topic longer than its packet
    CONNACK + b"\x30\x04\x00\x02\xff\xfe",  # a topic that is no text
    CONNACK + b"\x36\x07\x00\x01a\x00\x01xx",
    CONNACK + b"\xf0\x00",
)


def random_replies(n_replies: int) -> list[bytes]:
    rng = random.Random(0)
    prefixes = [b"", CONNACK, CONNACK + b"\x30", CONNACK + b"\x40\x02"]
    return [rng.choice(prefixes) + rng.randbytes(rng.randrange(60)) for _ in range(n_replies)]


def test_no_answer_of_a_broker_ends_the_delivery(
    tmp_path: Path, make_destination: MakeDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_WAIT_S", "MAX_WAIT_S"):
        monkeypatch.setattr(mqtt_link, name, 0.01)
    hostile = ScriptedBroker([*ODD_REPLIES, *random_replies(200)])
    destination = make_destination(hostile.port)
    sink = watching(destination)
    sink.on_event(event(1.0))
    eventually(lambda: destination.problem)
    hostile.wait()
    broker = Broker(tmp_path / "broker", port=hostile.port)
    with contextlib.closing(broker):
        broker.start()
        eventually(lambda: retained(broker.port).get(SIREN) == "ON")
        eventually(lambda: destination.problem == "")


def test_a_peer_that_never_answers_is_a_problem(make_destination: MakeDestination) -> None:
    with peer_of(lambda peer: peer.recv(1)) as port:
        destination = make_destination(port, keepalive_s=1)
        eventually(lambda: destination.problem)


@pytest.mark.parametrize("tls", [False, True])
def test_closing_does_not_wait_for_a_peer_that_never_answers(
    make_destination: MakeDestination, tls: bool
) -> None:
    is_over = threading.Event()
    with peer_of(lambda _: is_over.wait()) as port:
        destination = make_destination(port, tls=tls, keepalive_s=600)
        watching(destination).on_event(event(1.0))
        destination.close()  # takes 3.5 s on a machine with nothing else to do
        assert destination.n_lost == 1
        eventually(lambda: "mqtt" not in {thread.name for thread in threading.enumerate()})
        is_over.set()


def test_what_nobody_asked_for_does_not_fill_the_memory(make_destination: MakeDestination) -> None:
    n_taken = [0]

    def flood(peer: socket.socket) -> None:
        peer.recv(1 << 16)
        peer.sendall(CONNACK + b"\x30\xff\xff\xff\x7f")
        for _ in range(256):
            peer.sendall(bytes(1 << 20))
            n_taken[0] += 1 << 20

    with peer_of(flood) as port:
        destination = make_destination(port)
        eventually(lambda: "more than was asked for" in destination.problem)
        destination.close()
    assert n_taken[0] < 64 << 20


def test_answers_to_pings_alone_are_no_flood(
    broker: Broker,
    make_destination: MakeDestination,
    make_subscriber: Callable[..., Subscriber],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt_link, "MAX_READS_PER_PACKET", 2)
    subscriber = make_subscriber(broker.port, "edge-audio/status")
    destination = make_destination(broker.port, keepalive_s=1, level_every_s=0.0)
    eventually(lambda: subscriber.states("edge-audio/status") == ["online"])
    time.sleep(6.0)
    assert destination.problem == ""
    assert subscriber.states("edge-audio/status") == ["online"]
