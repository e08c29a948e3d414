"""Events reach a real MQTT broker, whatever becomes of it in between."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sinks.mqtt import link as mqtt_link
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sinks.mqtt.sink import MqttDestination
from edge_audio.sinks.outbox import Outbox
from edge_audio.sources.stream import Stream
from tests.support.mqtt_broker import MISSING, Broker, Subscriber, retained
from tests.support.peers import (
    DEADLINE_S,
    all_that_it_holds,
    eventually,
    make_certificates,
    peer_of,
)

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
]

LABELS = ("Dog", "Smoke detector, smoke alarm", "Siren")
ALARM = "smoke-detector-smoke-alarm"
EVENTS = "edge-audio/kitchen/event"
SIREN = "edge-audio/kitchen/siren/state"
CONNACK = b"\x20\x02\x00\x00"
MakeDestination = Callable[..., MqttDestination]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker")
    made.start()
    yield made
    made.close()


@pytest.fixture
def make_destination() -> Iterator[MakeDestination]:
    """Destinations that are closed after the test."""
    made: list[MqttDestination] = []

    def make(port: int, **settings: Any) -> MqttDestination:
        made.append(MqttDestination(MqttConfig(**{"host": "127.0.0.1", "port": port, **settings})))
        made[-1].start()
        return made[-1]

    yield make
    for destination in made:
        destination.close()


@pytest.fixture
def make_subscriber() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def make(port: int, *topics: str, **login: str) -> Subscriber:
        made.append(Subscriber(port, *topics, **login))
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()


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


def test_events_and_states_reach_a_subscriber(
    broker: Broker, make_destination: MakeDestination, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port)
    sink = watching(make_destination(broker.port))
    eventually(lambda: subscriber.on(SIREN) == ["OFF"])
    sink.on_event(event(1.0))
    sink.on_event(event(2.5, "end"))
    eventually(lambda: len(subscriber.on(EVENTS)) == 2)
    first, second = (json.loads(text) for text in subscriber.on(EVENTS))
    assert "at" in first
    fields = {"label": "Siren", "score": 0.75, "stream": "kitchen"}
    assert fields.items() <= first.items()
    assert (first["kind"], first["time_s"]) == ("start", 1.0)
    assert (second["kind"], second["time_s"]) == ("end", 2.5)
    eventually(lambda: subscriber.on(SIREN) == ["OFF", "ON", "OFF"])
    assert subscriber.on(f"edge-audio/kitchen/{ALARM}/state") == ["OFF"]


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
    destination = MqttDestination(MqttConfig(port=broker.port))
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
destination = MqttDestination(MqttConfig(port=int(sys.argv[1])))
destination.start()
time.sleep(60)
"""


def test_the_broker_tells_when_a_process_was_killed(
    broker: Broker, make_subscriber: Callable[..., Subscriber]
) -> None:
    subscriber = make_subscriber(broker.port, "edge-audio/status")
    with subprocess.Popen([sys.executable, "-c", LISTENER, str(broker.port)]) as process:
        eventually(lambda: subscriber.on("edge-audio/status") == ["online"])
        process.kill()
    eventually(lambda: subscriber.on("edge-audio/status") == ["online", "offline"])
    assert retained(broker.port)["edge-audio/status"] == "offline"


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


# Passwords and certificates


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
        eventually(lambda: subscriber.on(SIREN) == ["ON"])
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


# Home Assistant


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


# Brokers that mean harm


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
def test_closing_takes_seconds_whatever_the_peer_does(
    make_destination: MakeDestination, tls: bool
) -> None:
    is_over = threading.Event()
    with peer_of(lambda _: bool(is_over.wait(2 * DEADLINE_S)) and None) as port:
        destination = make_destination(port, tls=tls, keepalive_s=600)
        watching(destination).on_event(event(1.0))
        start_s = time.monotonic()
        destination.close()
        assert time.monotonic() - start_s < 10.0  # 3.5 s on a machine with nothing else to do
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


# Settings


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


def test_answers_to_pings_alone_are_no_flood(
    broker: Broker,
    make_destination: MakeDestination,
    make_subscriber: Callable[..., Subscriber],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt_link, "MAX_READS_PER_PACKET", 2)
    subscriber = make_subscriber(broker.port, "edge-audio/status")
    destination = make_destination(broker.port, keepalive_s=1, level_every_s=0.0)
    eventually(lambda: subscriber.on("edge-audio/status") == ["online"])
    time.sleep(6.0)
    assert destination.problem == ""
    assert subscriber.on("edge-audio/status") == ["online"]


def test_a_sink_that_comes_while_a_label_sounds_says_so(
    broker: Broker, make_destination: MakeDestination
) -> None:
    heard = stream()
    heard.sounding.add("Dog")
    sink = make_destination(broker.port).open(heard)
    sink.on_watch(LABELS[:2])
    eventually(lambda: retained(broker.port).get("edge-audio/kitchen/dog/state") == "ON")


def test_nothing_is_sent_before_the_start(broker: Broker) -> None:
    destination = MqttDestination(MqttConfig(host="127.0.0.1", port=broker.port))
    watching(destination).on_event(event(1.0))
    time.sleep(0.3)
    destination.close()
    assert retained(broker.port) == {}
    assert destination.n_lost == 1
