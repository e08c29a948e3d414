"""Devices that tag by themselves have settings, destinations, reload, watchdog and summary like
microphones, and are heard beside them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Record, error_line, listening, run
from tests.support.mqtt_broker import MISSING, Broker, Subscriber
from tests.support.peers import eventually, free_port
from tests.support.reloading import json_log, logged, running
from tests.support.serial_cable import Cable, Device

StartDevice = Callable[[int], Device]
LOW = "[events]\nthreshold = 0.05\n"


def listens_to(cable: Cable, *more: str) -> str:
    source = f"[[source]]\nname = 'porch'\nurl = 'serial:{cable.path}'\n"
    return "\n".join(['format = "none"', source, *more, ""])


def events(log: Path, stream: str = "porch") -> list[Record]:
    found = [record for record in logged(log) if record["stream"] == stream]
    return [record for record in found if record["kind"] in ("start", "end")]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if MISSING:
        pytest.skip(MISSING)
    broker = Broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.close()


def test_what_a_device_hears_reaches_every_destination(
    cable: Cable, device: StartDevice, tmp_path: Path, broker: Broker
) -> None:
    log, port = tmp_path / "log.jsonl", free_port()
    subscriber = Subscriber(broker.port)
    device(4)
    mqtt = f"[mqtt]\nhost = '127.0.0.1'\nport = {broker.port}\ntopic = 'edge-audio'\n"
    metrics = f"[metrics]\nport = {port}\n"
    with running(tmp_path, listens_to(cable, LOW, json_log(log), mqtt, metrics)) as process:
        eventually(lambda: len(events(log)) > 4)
        page = metrics_page(port)
        process.process.wait(60)  # the recording ends
        said = process.said
    found = events(log)
    eventually(lambda: len(subscriber.on("edge-audio/porch/event")) == len(found))
    told = [json.loads(text) for text in subscriber.on("edge-audio/porch/event")]
    subscriber.close()
    assert told == found
    assert all(record["at"] for record in found)
    assert 'edge_audio_events_total{label="Speech",stream="porch"}' in page
    assert 'edge_audio_level_dbfs{stream="porch"}' not in page  # it sends no audio
    assert re.search(
        r"edge-audio: 20\.\d s of audio on the device, [1-9]\d* events, 0 frames", said
    )


def metrics_page(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def test_thresholds_and_destinations_of_a_device_change_at_once(
    cable: Cable, device: StartDevice, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    device(1)
    quiet = "[events]\nonly = ['Zither']\nthreshold = 0.99\n"
    with running(tmp_path, listens_to(cable, quiet, json_log(one))) as process:
        eventually(lambda: len(logged(one)) > 5)  # top scores come from the device
        assert not events(one)
        wrong = listens_to(cable, "[events]\nonly = ['Unicorn']\n", json_log(two))
        assert "Unicorn" in process.reload(wrong, "settings stay as they were")
        n_before = len(logged(one))
        eventually(lambda: len(logged(one)) > n_before)
        assert not two.exists()
        process.reload(listens_to(cable, LOW, json_log(two)))
        eventually(lambda: len(events(two)) > 2)
        n_one, watched = len(logged(one)), {record["label"] for record in events(two)}
        process.reload(listens_to(cable, quiet, json_log(two)))
        eventually(lambda: has_ended(events(two)))
        assert len(logged(one)) == n_one
        assert watched
        said = process.stop()
    assert "reboot" not in said.replace("0 reboots", "")


def has_ended(found: list[Record]) -> bool:
    """Every event that started."""
    kinds: dict[str, str] = {}
    for record in found:
        kinds[record["label"]] = record["kind"]
    return set(kinds.values()) == {"end"}


def test_a_device_is_heard_beside_other_sources(
    cable: Cable, device: StartDevice, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    device(1)
    demo = "[[source]]\nurl = 'demo'\n"
    settings = LOW
    with running(tmp_path, listens_to(cable, demo, settings, json_log(log))) as process:
        eventually(lambda: events(log) and events(log, "demo"))
        n_before = {name: len(events(log, name)) for name in ("porch", "demo")}
        process.reload(listens_to(cable, demo, settings + "min_on_s = 0.1\n", json_log(log)))
        eventually(lambda: all(len(events(log, x)) > n for x, n in n_before.items()))
        said = process.stop()
    assert "porch: min_on_s cannot be set on a device: its own hold" in said
    summary = said.splitlines()[-2:]
    assert sorted(line.split()[1] for line in summary) == ["demo:", "porch:"]
    assert any("on the device" in line for line in summary)


def test_the_check_reads_settings_of_devices_without_opening_a_port(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    path.write_text("[[source]]\nurl = 'serial:/dev/absent'\n[json]\npath = 'log'\n")
    assert "fine" in run("listen", "--config", path, "--check").stdout
    path.write_text("[[source]]\nurl = 'serial:'\n")
    assert "serial" in error_line(run("listen", "--config", path, "--check", ok=False), 2)


def test_the_watchdog_is_told_while_a_device_is_silent(
    cable: Cable, device: StartDevice, tmp_path: Path
) -> None:
    address = tmp_path / "notify"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(address))
    manager.settimeout(60)
    path = tmp_path / "home.toml"
    path.write_text(listens_to(cable))
    environment = {**os.environ, "NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "600000"}
    running_device = device(1)
    with listening("--config", path, env=environment) as process:
        while manager.recv(4096) != b"READY=1":
            pass
        running_device.pause()
        assert [manager.recv(4096) for _ in range(5)] == [b"WATCHDOG=1"] * 5
        process.send_signal(signal.SIGHUP)
        said = [manager.recv(4096) for _ in range(6)]
        assert any(text.startswith(b"RELOADING=1\nMONOTONIC_USEC=") for text in said)
        assert b"READY=1" in said
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        running_device.go_on()
    manager.close()
