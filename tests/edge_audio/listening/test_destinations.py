"""All destinations at once: each tells of the same events, and they come and go on SIGHUP."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_audio.cli.listen_options import Flags
from edge_audio.errors import UsageError
from edge_audio.listening.config import Config
from edge_audio.listening.destinations import Destinations
from edge_audio.sinks.clips.recorder import ClipsConfig
from edge_audio.sinks.mqtt.config import MqttConfig
from edge_audio.sources.stream import Stream
from tests.support.command_line import error_line, listening, records, run
from tests.support.mqtt_broker import MISSING, Broker, Subscriber
from tests.support.peers import eventually, free_port

FAST = ("--source", "demo", "--no-realtime", "--duration", 60)


@pytest.fixture
def web() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """URL of a web server, and the records that were posted to it."""
    posted: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", posted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_flags_send_the_same_events_everywhere(
    tmp_path: Path, web: tuple[str, list[dict[str, object]]]
) -> None:
    url, posted = web
    broker = Broker(tmp_path / "broker")
    broker.start()
    subscriber = Subscriber(broker.port)
    told = MqttConfig().topic + "/demo/event"
    try:
        places = ("--json", tmp_path / "log", "--clips", tmp_path / "clips", "--webhook", url)
        done = run("listen", *FAST, *places, "--mqtt", f"127.0.0.1:{broker.port}")
        logged = [r for r in records((tmp_path / "log").read_text()) if r["kind"] != "level"]
        eventually(lambda: len(subscriber.on(told)) == len(logged))
    finally:
        subscriber.close()
        broker.close()
    assert len(logged) == 2 * len(records_of_starts(logged)) > 4
    assert posted == logged
    assert [json.loads(text) for text in subscriber.on(told)] == logged
    clips = [json.loads(path.read_text()) for path in (tmp_path / "clips").rglob("*.json")]
    clipped = {(e["label"], e["start_s"]) for clip in clips for e in clip["events"]}
    assert clipped == {(r["label"], r["time_s"]) for r in records_of_starts(logged)}
    assert f"{len(records_of_starts(logged))} events" in done.stderr


def records_of_starts(logged: list[dict[str, object]]) -> list[dict[str, object]]:
    return [record for record in logged if record["kind"] == "start"]


def test_metrics_come_and_go_with_the_settings(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    path = tmp_path / "home.toml"
    common = 'format = "jsonl"\ntop = 1\n[[source]]\nurl = "demo"\n'

    def metrics(port: int) -> str | None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        except OSError:
            return None

    path.write_text(f"{common}[metrics]\nport = {ports[0]}\n")
    with listening("--config", path) as process:
        eventually(lambda: metrics(ports[0]) is not None)
        assert 'edge_audio_audio_seconds_total{stream="demo"}' in (metrics(ports[0]) or "")
        path.write_text(f"{common}[metrics]\nport = {ports[1]}\n")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: metrics(ports[1]) is not None)
        eventually(lambda: metrics(ports[0]) is None)
        process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("broker", ("broker", 1883)),
        ("broker:1", ("broker", 1)),
        ("::1", ("::1", 1883)),
        ("[::1]:8883", ("::1", 8883)),
    ],
)
def test_a_broker_is_named_by_any_kind_of_address(text: str, address: tuple[str, int]) -> None:
    config = Flags({"mqtt_address": text}, frozenset({"mqtt_address"})).over(Config())
    assert config.mqtt is not None
    assert config.mqtt.address == address


@pytest.mark.parametrize(
    ("text", "address"),
    [("9400", ("127.0.0.1", 9400)), ("[::1]:9400", ("::1", 9400)), ("0.0.0.0:1", ("0.0.0.0", 1))],
)
def test_metrics_are_answered_at_a_port_or_an_address(text: str, address: tuple[str, int]) -> None:
    config = Flags({"metrics_address": text}, frozenset({"metrics_address"})).over(Config())
    assert config.metrics is not None
    assert (config.metrics.host, config.metrics.port) == address


def test_metrics_over_ipv6(tmp_path: Path) -> None:
    port = free_port()
    with listening(*FAST, "--realtime", "--metrics", f"[::1]:{port}", "--format", "none"):

        def page() -> str:
            try:
                connection = http.client.HTTPConnection("::1", port, timeout=10)
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()
            except OSError:
                return ""

        eventually(lambda: "edge_audio_audio_seconds_total" in page())


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_a_broker_and_a_web_server_over_ipv6(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker", host="::1")
    broker.start()
    try:
        done = run("listen", *FAST, "--mqtt", f"[::1]:{broker.port}", "--format", "jsonl")
        assert "no connection" not in done.stderr
        assert "not delivered" not in done.stderr
        assert records(done.stdout)
    finally:
        broker.close()


def test_a_destination_that_refuses_a_stream_is_closed_again(tmp_path: Path) -> None:
    stream = Stream("kitchen", ["Dog"], 16_000, live=True)
    wrong = Config(clips=ClipsConfig(folder=str(tmp_path), record=True, labels=("Unicorn",)))
    right = Config(clips=ClipsConfig(folder=str(tmp_path), record=True, labels=("Dog",)))
    destinations = Destinations()
    destinations.add(stream, [])
    for config in (wrong, wrong):
        with pytest.raises(UsageError, match="Unicorn"):
            destinations.prepare(config)
    destinations.prepare(right)()
    assert [destination.name for destination in destinations] == [f"clips {tmp_path}"]
    destinations.close()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--mqtt", "broker:eighty"), "port is no number"),
        (("--mqtt", "[::1]:0"), "port is no number"),
        (("--mqtt", "[::1"), "must be a name or an address"),
        (("--mqtt", "1::2::3"), "must be a name or an address"),
        (("--metrics", "localhost"), "names no port"),
        (("--metrics", "[::1]:x"), "port is no number"),
        (("--webhook", "ftp://host/"), "http"),
        (("--metrics", "70000"), "port"),
    ],
)
def test_flags_that_make_no_sense_are_named(flags: tuple[str, ...], text: str) -> None:
    assert text in error_line(run("listen", *FAST, *flags, ok=False), 2)
