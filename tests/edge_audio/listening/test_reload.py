"""SIGHUP is a transaction: all of the new settings hold from then on, or none, and no record is
lost on the way."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Record, listening, records
from tests.support.mqtt_broker import MISSING, Broker, Subscriber, retained
from tests.support.peers import eventually, files_below, free_port, peer_of
from tests.support.reloading import Run, json_log, logged, running
from tests.support.shipped import clearest

STEP_S = 0.08
DEMO = 'format = "none"\n[[source]]\nurl = "demo"\n'
needs_broker = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def step_times_s(found: Sequence[Record]) -> list[float]:
    return [float(record["time_s"]) for record in found if record["kind"] == "scores"]


def has_logged(path: Path, n_steps: int) -> Callable[[], bool]:
    return lambda: len(step_times_s(logged(path))) >= n_steps


def assert_every_step_is_there(times_s: Sequence[float]) -> None:
    gaps = [b - a for a, b in itertools.pairwise(times_s)]
    assert gaps
    assert all(abs(gap - STEP_S) < 0.002 for gap in gaps), gaps


def test_a_reload_that_fails_leaves_every_destination_as_it_was(tmp_path: Path) -> None:
    log, clips = tmp_path / "log.jsonl", tmp_path / "clips"
    port = free_port()
    kept = f"{DEMO}{json_log(log)}[metrics]\nport = {port}\n"
    with running(tmp_path, kept) as run, socket.create_server(("127.0.0.1", 0)) as taken:
        eventually(has_logged(log, 5))
        wanted = f"[clips]\nfolder = {json.dumps(str(clips))}\nrecord = true\n"
        taken_port = f"[metrics]\nport = {taken.getsockname()[1]}\n"
        for text, reason in (
            (f"{DEMO}{json_log(tmp_path / 'other')}{wanted}{taken_port}", "choose another port"),
            (f"{DEMO}{json_log(tmp_path / 'absent' / 'other')}", "cannot write"),
            (f"{DEMO}[events]\nonly = ['Unicorn']\n{json_log(tmp_path / 'third')}", "Unicorn"),
            (f"{DEMO}[webhook]\nurl = 'http://host/'\nbearer_env = 'EDGE_AUDIO_ABSENT'", "ABSENT"),
        ):
            n_before = len(step_times_s(logged(log)))
            said = run.reload(text, "settings stay as they were")
            assert reason in said
            eventually(has_logged(log, n_before + 5))
            assert page(port) is not None
        assert not list(clips.rglob(".lock"))  # what was opened in vain is given back
        assert not (tmp_path / "third").exists()
        run.stop()
    assert_every_step_is_there(step_times_s(logged(log)))


def page(port: int, host: str = "127.0.0.1") -> str | None:
    """What Prometheus is answered."""
    try:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except OSError:
        return None


def test_flags_stay_in_force(tmp_path: Path) -> None:
    flagged, in_file = tmp_path / "flagged.jsonl", tmp_path / "in-file.jsonl"
    text = f"{DEMO}{json_log(in_file)}"
    with running(
        tmp_path, text, "--json", flagged, "--only", "Siren", "--threshold", "Siren=0.4"
    ) as run:
        eventually(lambda: flagged.exists() and flagged.stat().st_size > 0)
        said = run.reload(text + "[events]\nmin_on_s = 0.2\n")
        assert "restart for" not in said
        before = flagged.stat().st_size
        eventually(lambda: flagged.stat().st_size > before)
        run.stop()
    assert not in_file.exists()


def test_what_waits_for_a_restart_is_compared_with_what_runs(tmp_path: Path) -> None:
    other = DEMO.replace("format", 'model = "micro-int8"\nformat')
    log = tmp_path / "log.jsonl"  # whose first record says that settings have been read
    with running(tmp_path, DEMO + json_log(log)) as run:
        eventually(has_logged(log, 10))
        for i in range(3):
            changed = f"{other}[events]\nmin_on_s = 0.{i + 1}\n"
            assert "restart for the new model" in run.reload(changed, "restart for the new")
        assert "restart for" not in run.reload(DEMO)
        assert "restart for" not in run.reload(DEMO + "[events]\nmin_on_s = 0.5\n")
        assert "restart for the new source" in run.reload(
            DEMO.replace("demo", "mic"), "restart for the new"
        )
        run.stop()


def test_a_log_keeps_its_file_while_its_settings_change(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with running(tmp_path, DEMO + json_log(log)) as run:
        eventually(has_logged(log, 10))
        inode = log.stat().st_ino
        run.reload(DEMO + json_log(log, max_mb=0.002, keep=500))
        eventually(lambda: log.with_name("log.jsonl.3").exists())
        run.reload(DEMO + json_log(log, level_every_s=0.2))
        n_rotated = len(list(tmp_path.glob("log.jsonl.*")))
        eventually(has_logged(log, 20))
        assert len(list(tmp_path.glob("log.jsonl.*"))) == n_rotated
        run.stop()
    rotated = sorted(tmp_path.glob("log.jsonl.*"), key=lambda path: -int(path.suffix[1:]))
    assert rotated[0].stat().st_ino == inode
    assert_every_step_is_there(step_times_s(logged(*rotated, log)))


def test_another_log_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    with running(tmp_path, DEMO + json_log(one)) as run:
        eventually(has_logged(one, 5))
        run.reload(DEMO + json_log(two))
        eventually(has_logged(two, 5))
        run.stop()
    assert_every_step_is_there(step_times_s(logged(one, two)))


def test_metrics_move_between_addresses_of_one_port_and_go_on_counting(tmp_path: Path) -> None:
    port = free_port()

    def settings(host: str) -> str:
        return f"{DEMO}[metrics]\nhost = '{host}'\nport = {port}\n"

    def heard_s() -> float:
        found = re.search(r"^edge_audio_audio_seconds_total\S* (\S+)", page(port) or "", re.M)
        return float(found[1]) if found else 0.0

    with running(tmp_path, settings("127.0.0.1")) as run:
        eventually(lambda: heard_s() > 0.5)
        for host in ("0.0.0.0", "127.0.0.1", "localhost", "0.0.0.0"):
            before_s = heard_s()
            run.reload(settings(host))
            assert before_s < heard_s() < before_s + 5.0
            assert f'destination="metrics {host}:{port}"' in (page(port) or "")
        run.stop()
    assert page(port) is None


class WebServer:
    """Takes records; posted: all of them so far."""

    def __init__(self) -> None:
        self.posted: list[Record] = []
        posted = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()


def test_events_that_wait_for_one_web_server_go_to_the_next(tmp_path: Path, web: WebServer) -> None:
    log = tmp_path / "log.jsonl"
    common = DEMO + clearest(8.0).settings + json_log(log)

    def events() -> list[Record]:
        return [r for r in logged(log) if r["kind"] in ("start", "end")]

    dead = f"[webhook]\nurl = 'http://127.0.0.1:{free_port()}/'\nbackoff_s = 60\n"
    with running(tmp_path, common + dead) as run:
        eventually(lambda: len(events()) >= 2)
        assert "connection refused" in run.said
        run.reload(common + f"[webhook]\nurl = '{web.url}'\n")
        eventually(lambda: web.posted == events())
        run.stop()
    assert web.posted == events()


def test_a_destination_that_is_gone_closes_beside_listening_and_says_what_it_lost(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log.jsonl"
    over = threading.Event()
    common = DEMO + clearest(8.0).settings + json_log(log)
    with peer_of(lambda _: bool(over.wait(120)) and None) as port:
        slow = f"[webhook]\nurl = 'http://127.0.0.1:{port}/'\ntimeout_s = 30\n"
        with running(tmp_path, common + slow) as run:
            eventually(lambda: any(r["kind"] == "start" for r in logged(log)))
            run.reload(common)
            n_before = len(step_times_s(logged(log)))
            lost = r"webhook 127\.0\.0\.1: [1-9]\d* were not delivered"
            eventually(lambda: re.search(lost, run.said))  # closing takes 3.5 s
            assert len(step_times_s(logged(log))) >= n_before + 10
            run.stop()
        over.set()
    assert_every_step_is_there(step_times_s(logged(log)))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.close()


@needs_broker
def test_a_client_of_the_same_id_goes_on_and_stays_online(tmp_path: Path, broker: Broker) -> None:
    log = tmp_path / "log.jsonl"
    common = DEMO + clearest(8.0).settings + json_log(log)
    subscriber = Subscriber(broker.port)

    def mqtt(**settings: Any) -> str:
        broker_fields = {"host": "127.0.0.1", "port": broker.port, "client_id": "ear"}
        fields = {**broker_fields, "topic": "edge-audio", **settings}
        return "[mqtt]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in fields.items())

    def told() -> list[Record]:
        return [json.loads(text) for text in subscriber.on("edge-audio/demo/event")]

    def events() -> list[Record]:
        return [r for r in logged(log) if r["kind"] in ("start", "end")]

    def statuses() -> list[str]:
        return subscriber.states("edge-audio/status")

    with running(tmp_path, common + mqtt()) as run:
        eventually(lambda: statuses() == ["online"])
        run.reload(common + mqtt(level_every_s=0.5, discovery_prefix="hass"))
        eventually(lambda: statuses() == ["online", "offline", "online"])
        eventually(lambda: [x for x in retained(broker.port) if x.startswith("hass/")])
        run.reload(common + mqtt())
        eventually(lambda: not [x for x in retained(broker.port) if x.startswith("hass/")])
        run.reload(common + mqtt(level_every_s=0.0, topic="attic"))
        eventually(lambda: subscriber.on("attic/status") == ["online"])
        kept = retained(broker.port)
        assert (kept["edge-audio/status"], kept["attic/status"]) == ("offline", "online")
        run.reload(common + mqtt())
        eventually(lambda: subscriber.on("edge-audio/status")[-1] == "online")
        eventually(lambda: len(events()) >= 4)
        run.stop()
    eventually(lambda: unique([*told(), *attic(subscriber)]) == unique(events()))
    subscriber.close()
    kept = retained(broker.port)
    assert (kept["edge-audio/status"], kept["attic/status"]) == ("offline", "offline")


def attic(subscriber: Subscriber) -> list[Record]:
    return [json.loads(text) for text in subscriber.on("attic/demo/event")]


def unique(found: Sequence[Record]) -> set[tuple[float, str, str]]:
    """QoS 1: what was on its way when a connection ended may come twice."""
    return {(r["time_s"], r["kind"], r["label"]) for r in found}


@needs_broker
def test_events_that_wait_for_a_broker_survive_a_change_of_its_address(
    tmp_path: Path, broker: Broker
) -> None:
    log = tmp_path / "log.jsonl"
    common = DEMO + clearest(8.0).settings + json_log(log)
    subscriber = Subscriber(broker.port)
    common += "[mqtt]\nhost = '127.0.0.1'\ntopic = 'edge-audio'\n"
    with running(tmp_path, f"{common}port = {free_port()}\n") as run:
        eventually(lambda: sum(r["kind"] == "end" for r in logged(log)) >= 2)
        run.reload(f"{common}port = {broker.port}\n")
        run.stop()
    expected = unique([r for r in logged(log) if r["kind"] in ("start", "end")])
    found = [json.loads(text) for text in subscriber.on("edge-audio/demo/event")]
    subscriber.close()
    assert unique(found) == expected


def test_a_clip_goes_on_while_its_settings_change(tmp_path: Path) -> None:
    log, clips = tmp_path / "log.jsonl", tmp_path / "clips"

    def settings(quota_mb: int) -> str:
        section = f"[clips]\nfolder = {json.dumps(str(clips))}\nrecord = true\npost_s = 0.5\n"
        return f"{DEMO}{clearest(8.0).settings}{json_log(log)}{section}quota_mb = {quota_mb}\n"

    def is_recording() -> bool:
        return any(clips.rglob("*.audio.part"))

    with running(tmp_path, settings(100)) as run:
        eventually(is_recording)
        assert not list(clips.rglob("*.flac"))
        run.reload(settings(50))
        assert is_recording()
        eventually(lambda: files_below(clips, ".json"))
        run.stop()
    first = min(clips.rglob("*.json"))
    sidecar = json.loads(first.read_text())
    assert all(event["end_s"] is not None for event in sidecar["events"])
    assert "gaps" not in sidecar


def test_scores_on_the_screen_follow_the_labels(tmp_path: Path) -> None:
    shown = DEMO.replace("none", "jsonl").replace("[[", "top = 3\n[[", 1)
    out = tmp_path / "stdout"

    def ranked(n_last: int = 5) -> set[str]:
        lines = [r for r in records(out.read_text().rpartition("\n")[0]) if r["kind"] == "scores"]
        return {top["label"] for line in lines[-n_last:] for top in line["top"]}

    with out.open("w") as stdout:
        path, log = tmp_path / "home.toml", tmp_path / "stderr"
        path.write_text(shown)
        with (
            log.open("w") as stderr,
            listening("--config", path, stdout=stdout, stderr=stderr) as process,
        ):
            run = Run(process, path, log)
            eventually(lambda: len(ranked()) >= 3)
            run.reload(f"{shown}[events]\nonly = ['Speech', 'Dog']\n")
            eventually(lambda: ranked() == {"Speech", "Dog"})
            run.stop()
