"""Connections that are meant to tie the server up: slow, huge, endless, many."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from edge_audio.errors import UsageError
from edge_audio.page import requests, server
from edge_audio.page.config import PageConfig
from edge_audio.page.destination import PageDestination
from edge_audio.page.hub import Message
from tests.support.open_page import OpenPage, closed_after_s, open_page, raw_connection
from tests.support.peers import free_port, make_certificates

HEAD = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenPage]:
    """A page that waits for heads and bodies half a second."""
    monkeypatch.setattr(server, "HEADER_S", 0.5)
    monkeypatch.setattr(server, "STALL_S", 0.5)
    monkeypatch.setattr(requests, "BODY_S", 0.5)
    with open_page() as page:
        page.browser.take_token()
        yield page


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b"X-Slow: "])
def test_who_does_not_finish_a_request_is_left(opened: OpenPage, said: bytes) -> None:
    connection = raw_connection(opened.port)
    connection.sendall(said)
    assert closed_after_s(connection) < 20.0


def test_a_head_that_comes_drop_by_drop_does_not_win_time(opened: OpenPage) -> None:
    connection = raw_connection(opened.port)
    connection.sendall(HEAD)
    with pytest.raises(ConnectionError):
        drip(connection, 20.0)
    assert opened.browser.get("status").status == 200


def drip(connection: socket.socket, duration_s: float) -> None:
    """Raises ConnectionError when the other side has closed."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < duration_s:
        connection.sendall(b"X: 1\r\n")
        time.sleep(0.1)


def test_a_second_request_has_no_more_time_than_the_first(opened: OpenPage) -> None:
    connection = raw_connection(opened.port)
    connection.sendall(HEAD + b"\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    connection.sendall(HEAD)
    assert closed_after_s(connection) < 20.0


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(20_000)) + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,  # TLS, spoken to HTTP
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    ],
)
def test_heads_that_are_huge_or_none_are_refused(opened: OpenPage, head: bytes) -> None:
    connection = raw_connection(opened.port)
    received = b""
    try:
        connection.sendall(head)
        received = connection.recv(100)
    except ConnectionError:
        pass  # closed while it was still being sent
    assert received[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 501")
    connection.close()
    assert opened.browser.get("status").status == 200


def test_a_huge_body_is_refused_before_it_is_there(opened: OpenPage) -> None:
    answer = opened.browser.ask("POST", "run", {"is_paused": "x" * 50_000})
    assert (answer.status, "at most" in answer.error) == (413, True)
    nested = opened.browser.ask("POST", "run", None, content_type="application/json")
    assert nested.status == 400


def test_a_body_that_does_not_come_is_not_waited_for(opened: OpenPage) -> None:
    connection = raw_connection(opened.port)
    token = opened.browser.token.encode()
    connection.sendall(
        b"POST /api/v1/run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"X-CSRF-Token: " + token + b"\r\nContent-Length: 100\r\n\r\n{"
    )
    assert connection.recv(100).startswith(b"HTTP/1.1 408")
    connection.close()


def test_who_takes_nothing_of_what_is_sent_is_left(opened: OpenPage) -> None:
    connection = raw_connection(opened.port)
    connection.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    deadline_s = time.monotonic() + 30.0
    while not opened.context.hub.has_readers:
        assert time.monotonic() < deadline_s
    hub = opened.context.hub
    while hub.has_readers:
        hub.hand(lambda: hub.tell(Message("event", b"x" * 100_000)))
        time.sleep(0.01)
        assert time.monotonic() < deadline_s
    connection.close()


def test_connections_beyond_the_most_are_closed_at_once(
    opened: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_S", 60.0)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 5)
    waiting = [raw_connection(opened.port) for _ in range(5)]
    for connection in waiting:
        connection.sendall(HEAD)
    time.sleep(0.3)
    late = raw_connection(opened.port)
    assert closed_after_s(late) < 10.0
    for connection in waiting:
        connection.close()


# TLS


def test_the_page_speaks_tls_with_a_certificate_and_takes_a_renewed_one(tmp_path: Path) -> None:
    folder = make_certificates(tmp_path / "tls")
    cert_file, key_file = str(folder / "server.pem"), str(folder / "server.key")
    trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with open_page(cert_file=cert_file, key_file=key_file) as opened:
        connection = HTTPSConnection("127.0.0.1", opened.port, context=trusted, timeout=30)
        connection.request("GET", "/api/v1/session")
        assert connection.getresponse().status == 200
        connection.close()
        assert opened.page.refresh(ExitStack()) is not None
        (folder / "server.pem").write_text("half a certificate")
        with pytest.raises(UsageError, match="certificate"):
            opened.page.refresh(ExitStack())
        with pytest.raises(UsageError, match="certificate"):
            PageDestination.check(PageConfig(cert_file=cert_file, key_file=key_file), ())


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="belong together"):
        PageConfig(cert_file="page.pem")


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0},
        {"host": ""},
        {"path": "sounds"},
        {"path": "/so unds"},
        {"hosts": ("a b",)},
        {"frames": ("*",)},
        {"frames": ("https://a; script-src *",)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|origin|port"):
        PageConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "http://127.0.0.1:8470/"),
        ({"host": "::1", "port": 1, "path": "/a"}, "http://[::1]:1/a/"),
        ({"host": "localhost:9", "cert_file": "a", "key_file": "b"}, "https://localhost:9/"),
    ],
)
def test_a_browser_finds_the_page_where_it_says(settings: dict[str, Any], address: str) -> None:
    assert PageConfig(**settings).address == address


def test_a_port_that_others_have_is_named() -> None:
    with open_page() as opened, pytest.raises(UsageError, match=f"port {opened.port}"):
        PageDestination(PageConfig(port=opened.port))


def test_another_address_is_another_page() -> None:
    with open_page() as opened:
        assert opened.page.reconfigure(PageConfig(port=free_port()), ExitStack()) is None
        change = opened.page.reconfigure(PageConfig(port=opened.port, controls=False), ExitStack())
        assert change is not None
        change()
        assert not opened.browser.get("status").json["can_change"]
