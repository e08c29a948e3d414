"""What the tests of the MQTT sink share: topics, events, and a broker that answers by a script."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sinks.mqtt.sink import MqttDestination
from edge_audio.sources.stream import Stream
from tests.support.mqtt_broker import MISSING, Subscriber
from tests.support.peers import DEADLINE_S

MARKS = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

LABELS = ("Dog", "Smoke detector, smoke alarm", "Siren")
ALARM = "smoke-detector-smoke-alarm"
EVENTS = "edge-audio/kitchen/event"
SIREN = "edge-audio/kitchen/siren/state"
CONNACK = b"\x20\x02\x00\x00"
MakeDestination = Callable[..., MqttDestination]


def stream(name: str = "kitchen") -> Stream:
    return Stream(name=name, labels=LABELS, sample_rate_hz=16_000, live=True)


def watching(
    destination: MqttDestination, name: str = "kitchen", labels: Sequence[str] = LABELS
) -> Sink:
    sink = destination.open(stream(name))
    sink.on_watch(labels)
    return sink


def event(time_s: float, kind: Any = "start", label: str = "Siren") -> Event:
    return Event(kind=kind, label=label, time_s=time_s, score=0.75)


def times_s(subscriber: Subscriber) -> list[float]:
    """Of all events, without those that came twice."""
    return list(dict.fromkeys(json.loads(text)["time_s"] for text in subscriber.on(EVENTS)))


class ScriptedBroker:
    """Answers the first bytes of each connection with one of the replies, and then hears, without
    a word, what else there is. After the last reply it is gone."""

    def __init__(self, replies: Sequence[bytes], port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._replies = replies
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener:
            for reply in self._replies:
                peer, _ = self._listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.recv(1 << 16)
                    peer.sendall(reply)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(1 << 16):
                        pass

    def wait(self) -> None:
        """Until all replies are given."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
