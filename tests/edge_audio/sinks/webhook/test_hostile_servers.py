"""Servers that mean harm neither end the delivery nor learn what is not theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_audio.sinks.webhook.destination import WebhookDestination
from tests.edge_audio.sinks.webhook.webhook_parts import (
    MARKS,
    MakeDestination,
    WebServer,
    letters,
    tell,
)
from tests.support.peers import (
    DEADLINE_S,
    all_that_it_holds,
    eventually,
    free_port,
    make_certificates,
    peer_of,
)

pytestmark = MARKS


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\x00" * 100,
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 99999999 no\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
        b"HTTP/1.1 500\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 503 no\r\nRetry-After: -5\r\n\r\n",
        b"HTTP/1.1 302 no\r\nLocation: file:///etc/passwd\r\n\r\n",
    ],
)
def test_no_answer_of_a_server_ends_the_delivery(
    make_destination: MakeDestination, reply: bytes
) -> None:
    n_left = [2]

    def answer(peer: Any) -> None:
        peer.recv(1 << 16)
        n_left[0] -= 1
        peer.sendall(reply if n_left[0] >= 0 else b"HTTP/1.1 204 thanks\r\n\r\n")

    with peer_of(answer) as port:
        destination = make_destination(f"http://127.0.0.1:{port}/", retries=0)
        tell(destination, 2)
        eventually(lambda: destination.n_lost == 2)
        assert destination.problem
        tell(destination, 1)
        eventually(lambda: destination.problem == "")


def test_an_endless_answer_is_not_read(make_destination: MakeDestination) -> None:
    n_sent = [0]

    def flood(peer: Any) -> None:
        peer.recv(1 << 16)
        peer.sendall(b"HTTP/1.1 200 fine\r\n\r\n")
        for _ in range(1000):
            peer.sendall(bytes(1 << 20))
            n_sent[0] += 1 << 20

    with peer_of(flood) as port:
        destination = make_destination(f"http://127.0.0.1:{port}/")
        tell(destination, 1)
        destination.close()
    assert (destination.problem, destination.n_lost) == ("", 0)
    assert n_sent[0] < 64 << 20


def test_a_server_that_is_silent_is_a_problem_and_its_event_is_kept(
    make_destination: MakeDestination, tmp_path: Path
) -> None:
    is_over = threading.Event()
    path = tmp_path / "letters"
    with peer_of(lambda _: bool(is_over.wait(DEADLINE_S)) and None) as port:
        url = f"http://127.0.0.1:{port}/"
        destination = make_destination(url, timeout_s=0.1, retries=0, dead_letter=str(path))
        tell(destination, 1)
        eventually(lambda: destination.problem == "no answer for 0.1 s")
        eventually(lambda: letters(path) == [0.0])
        is_over.set()


def test_closing_does_not_wait_for_the_end_of_an_answer(
    make_destination: MakeDestination, tmp_path: Path
) -> None:
    is_over = threading.Event()
    path = tmp_path / "letters"

    def dribble(peer: Any) -> None:
        peer.sendall(b"HTTP/1.1 200 fine\r\n")
        while not is_over.wait(0.05):
            peer.sendall(b"x")

    with peer_of(dribble) as port:
        destination = make_destination(f"http://127.0.0.1:{port}/", dead_letter=str(path))
        tell(destination, 10)
        destination.close()  # takes 3.5 s on a machine with nothing else to do
        assert letters(path) == [float(i) for i in range(10)]
        is_over.set()


def test_certificates_are_checked(
    serve: Callable[..., WebServer], make_destination: MakeDestination, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    server = serve(certificates=certificates)
    strange = make_destination(server.url, ca_file=str(certificates / "other.pem"))
    tell(strange, 1)
    eventually(lambda: "certificate is not accepted" in strange.problem)
    assert server.posts == []
    tell(make_destination(server.url, ca_file=str(certificates / "ca.pem")), 1)
    eventually(lambda: server.times_s() == [0.0])


def was_heard(destination: WebhookDestination, server: WebServer) -> bool:
    """Whether a post came through or failed."""
    return bool(destination.problem or server.posts)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_neither_token_nor_path_shows(
    serve: Callable[..., WebServer],
    make_destination: MakeDestination,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    monkeypatch.setenv("TOKEN", "hush")
    server = serve(*[(status, {})] * 2)
    dead = f"http://127.0.0.1:{free_port()}/hidden-path"
    for url in (server.url, dead):
        destination: WebhookDestination = make_destination(url, bearer_env="TOKEN", retries=1)
        tell(destination, 1)
        eventually(partial(was_heard, destination, server))
        destination.close()
        assert "hidden" not in f"{destination.name} {destination.problem}"
        assert "hush" not in f"{destination.name} {destination.problem}"
        assert "hush" not in all_that_it_holds(destination)
