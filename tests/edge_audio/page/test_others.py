"""Other listeners are linked to with what they say of themselves, and cost no more than seconds."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from edge_audio.page import others
from edge_audio.page.config import PageConfig
from tests.support.open_page import open_page, password_file
from tests.support.peers import free_port, peer_of


def others_of(*addresses: str) -> list[dict[str, Any]]:
    with open_page(others=addresses) as opened:
        found: list[dict[str, Any]] = opened.browser.get("others").json
        return found


def test_others_say_how_they_are(tmp_path: Path) -> None:
    with (
        open_page(names=("attic", "yard")) as attic,
        open_page(password_file=password_file(tmp_path)) as cellar,
    ):
        addresses = [f"http://127.0.0.1:{port}" for port in (attic.port, cellar.port, free_port())]
        first, second, third = others_of(*addresses)
    assert first["address"] == f"{addresses[0]}/"
    assert (first["state"], first["n_streams"]) == ("listening", 2)
    assert (second["state"], second["n_streams"]) == ("locked", None)
    assert (third["state"], third["problem"]) == ("away", "connection refused")


def flood(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"x" * 65_536)


def drip(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"H")
        time.sleep(0.1)


@pytest.mark.parametrize(
    "serve", [flood, drip, lambda peer: peer.sendall(b"HTTP/1.1 302 x\r\n\r\n")]
)
def test_one_that_is_hostile_is_away(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "ASK_LIMIT_S", 2.0)
    with peer_of(serve) as port:
        (found,) = others_of(f"http://127.0.0.1:{port}")
    assert found["state"] == "away"
    assert found["problem"]


def test_they_are_asked_once_in_a_while() -> None:
    asked: list[bytes] = []
    with (
        peer_of(lambda peer: asked.append(peer.recv(4096))) as port,
        open_page(others=(f"http://127.0.0.1:{port}/sounds",)) as opened,
    ):
        for _ in range(5):
            opened.browser.get("others")
    assert [x.partition(b" HTTP")[0] for x in asked] == [b"GET /sounds/api/v1/status"]


@pytest.mark.parametrize(
    "address",
    [
        "attic.local",
        "ftp://attic",
        "http://user:hush@attic",
        "http://attic/?x",
        "http://attic/../x y",
    ],
)
def test_what_is_no_page_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="others: "):
        PageConfig(others=(address,))
