"""What a service manager hears: real unix sockets, messages from a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_audio.service.notify import Notifier

HANG_S = 60


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket as systemd's, with the address as NOTIFY_SOCKET spells it."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path if request.param == "path" else "\0" + path)
        listener.settimeout(HANG_S)
        yield (path if request.param == "path" else "@" + path), listener


def notify(program: str, **environment: str) -> None:
    """Runs the program with a `notifier` made from this environment."""
    start = (
        "from edge_audio.service.notify import Notifier; notifier = Notifier.from_environment();"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + program],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def messages(listener: socket.socket) -> list[str]:
    """All that has arrived."""
    listener.setblocking(False)
    found = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_life_of_a_service_arrives_in_order(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    notify(
        "notifier.ready(); notifier.status('two\\nlines'); notifier.reloading();"
        "notifier.ready(); notifier.stopping()",
        NOTIFY_SOCKET=address,
    )
    ready, status, reloading, again, stopping = messages(listener)
    assert (ready, again, stopping) == ("READY=1", "READY=1", "STOPPING=1")
    assert status.startswith("STATUS=two")
    assert "\n" not in status
    first, second = reloading.splitlines()
    assert first == "RELOADING=1"
    name, _, usec = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert 0 < int(usec) <= time.monotonic_ns() // 1000


def test_many_signs_of_life_are_sent_as_few(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    many = "[notifier.watchdog() for _ in range(1000)]"
    notify(many, NOTIFY_SOCKET=address, WATCHDOG_USEC="3600000000")
    assert messages(listener) == ["WATCHDOG=1"]


def test_signs_of_life_go_on_a_third_of_the_limit_apart(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    notifier = Notifier(address, watchdog_s=0.03)
    for _ in range(3):
        notifier.watchdog()
        time.sleep(0.011)
    notifier.close()
    assert messages(listener) == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "many"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}],
)
def test_nobody_who_watches_gets_no_signs_of_life(
    manager: tuple[str, socket.socket], environment: dict[str, str]
) -> None:
    address, listener = manager
    notify("notifier.watchdog(); notifier.ready()", NOTIFY_SOCKET=address, **environment)
    assert messages(listener) == ["READY=1"]


@pytest.mark.parametrize(
    "address", ["", "/nowhere/notify", "@nobody", "vsock:2:1", "/" + "x" * 200]
)
def test_without_a_manager_that_hears_nothing_happens(address: str) -> None:
    everything = "notifier.ready(); notifier.status('x'); notifier.watchdog(); notifier.stopping()"
    notify(everything, NOTIFY_SOCKET=address, WATCHDOG_USEC="3000000")


def test_a_manager_that_does_not_read_delays_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        notify("[notifier.ready() for _ in range(10000)]", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert 0 < len(messages(listener)) < 10_000


def test_a_closed_notifier_is_silent(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    notifier = Notifier(address)
    notifier.close()
    notifier.close()
    notifier.ready()
    assert messages(listener) == []
