"""Clips go with messages, mail goes out, and no server does harm."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from email import message_from_bytes
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from edge_audio.events.detector import Event
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination
from edge_audio.sinks.notify import sender, sending
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sources.base import Block
from tests.edge_audio.sinks.notify.notify_parts import MakeNotify, MessageServer, Room
from tests.support.peers import eventually, free_port, peer_of

Serve = Callable[..., MessageServer]
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
HOUR_S = 3600.0


@pytest.fixture
def clips(tmp_path: Path) -> Iterator[ClipsDestination]:
    config = ClipsConfig(folder=str(tmp_path / "clips"), record=True, post_s=0.5)
    with closing(ClipsDestination(config)) as made:
        yield made


def hear_a_dog(room: Room, clips: ClipsDestination, is_whole: bool) -> None:
    """Two seconds of audio with a sound in them; its clip ends, or does not."""
    recording = clips.open(room.stream)

    def hear(begin_s: float, end_s: float) -> None:
        for i in range(round(10 * begin_s), round(10 * end_s)):
            recording.on_audio(Block(np.full(1600, 0.1, np.float32), i / 10))
            room.stream.stats.heard_until((i + 1) / 10)

    hear(0.0, 1.5)
    room.stream.begin("Dog", 1.0)
    for sink in (recording, room.sink):
        sink.on_event(Event("start", "Dog", 1.0, 0.5))
    if is_whole:
        recording.on_event(Event("end", "Dog", 1.5, 0.9))
        hear(1.5, 5.0)


def test_a_clip_goes_with_its_message(
    serve: Serve, make_notify: MakeNotify, clips: ClipsDestination
) -> None:
    server = serve()
    room = Room(make_notify(server.url, destinations=[clips], clip_wait_s=HOUR_S / 6))
    hear_a_dog(room, clips, is_whole=True)
    eventually(lambda: server.bodies)
    (attached,) = json.loads(server.bodies[0])["attachments"]
    assert attached["filename"].endswith("-Dog.flac")
    assert base64.b64decode(attached["base64"])[:4] == b"fLaC"


def test_a_message_waits_no_longer_than_it_may(
    serve: Serve, make_notify: MakeNotify, clips: ClipsDestination
) -> None:
    server = serve()
    destination = make_notify(server.url, destinations=[clips], clip_wait_s=1.0)
    began_s = time.monotonic()
    hear_a_dog(Room(destination), clips, is_whole=False)
    eventually(lambda: server.bodies)
    assert time.monotonic() - began_s >= 1.0
    assert json.loads(server.bodies[0])["attachments"] == []


@pytest.mark.parametrize("settings", [{}, {"clip_wait_s": HOUR_S / 6, "urgent": ("Dog",)}])
def test_no_clip_leaves_the_house_unasked_and_nothing_urgent_waits(
    serve: Serve, make_notify: MakeNotify, clips: ClipsDestination, settings: dict[str, Any]
) -> None:
    server = serve()
    hear_a_dog(Room(make_notify(server.url, destinations=[clips], **settings)), clips, True)
    eventually(lambda: server.bodies)
    assert json.loads(server.bodies[0])["attachments"] == []


def test_mail_goes_out(make_notify: MakeNotify, clips: ClipsDestination) -> None:
    controller = pytest.importorskip("aiosmtpd.controller")
    mails: list[Mail] = []

    class Keeper:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            mails.append(message_from_bytes(envelope.content))
            return "250 OK"

    host = controller.Controller(Keeper(), hostname="127.0.0.1", port=free_port())
    host.start()
    try:
        url = f"mailto://127.0.0.1:{host.port}/?from=ear@home.example&to=me@home.example"
        destination = make_notify(url, destinations=[clips], clip_wait_s=HOUR_S / 6)
        hear_a_dog(Room(destination, "kitchen"), clips, is_whole=True)
        eventually(lambda: mails)
    finally:
        host.stop()
    assert (mails[0]["Subject"], mails[0]["To"]) == ("Dog", "me@home.example")
    parts = {part.get_content_type(): part for part in mails[0].walk()}
    assert "kitchen, " in parts["text/plain"].get_payload()
    assert bytes(parts["audio/flac"].get_payload(decode=True)).startswith(b"fLaC")


@pytest.mark.parametrize(
    ("statuses", "n_asked", "said"),
    [
        ((503, 429), 3, ""),
        ((404,), 1, "json: it answers with status 404"),
        ((302,), 1, "json: it answers with status 302, a redirect"),
    ],
)
def test_what_may_be_taken_later_is_tried_again(
    serve: Serve, make_notify: MakeNotify, statuses: tuple[int, ...], n_asked: int, said: str
) -> None:
    server = serve(*statuses)
    destination = make_notify(server.url)
    Room(destination).sound("Dog")
    eventually(lambda: len(server.bodies) == n_asked)
    eventually(lambda: bool(destination.problem) == bool(said))
    assert destination.problem.startswith(said)
    eventually(lambda: destination.n_lost == bool(said))
    assert set(server.paths) == {"/hidden-path"}


def test_a_server_that_answers_slowly_keeps_nobody_waiting(
    serve: Serve, make_notify: MakeNotify
) -> None:
    slow, quick = serve(delay_s=5.0), serve()
    destination = make_notify(slow.url, quick.url)
    room = Room(destination)
    began_s = time.thread_time()
    for label in ("Dog", "Cat"):
        room.sound(label)
    assert time.thread_time() - began_s < 0.5  # of CPU; nothing was waited for
    eventually(lambda: len(quick.titles) == 2)
    assert slow.titles == []


def says(answer: bytes, again: bool = False) -> Callable[[socket.socket], None]:
    def serve(peer: socket.socket) -> None:
        peer.recv(65_536)
        peer.sendall(answer)
        while again:
            peer.sendall(b"x" * 65_536)

    return serve


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 999 \xff\r\n\r\n",
    ],
)
def test_garbage_is_a_problem_and_no_more(make_notify: MakeNotify, answer: bytes) -> None:
    with peer_of(says(answer)) as port:
        destination = make_notify(f"json://127.0.0.1:{port}/hush", retries=0)
        Room(destination).sound("Dog")
        eventually(lambda: destination.problem or destination._told[0].delivery._current is None)  # noqa: SLF001
        assert "hush" not in destination.problem


def test_an_endless_answer_fills_another_process_and_not_this_one(
    make_notify: MakeNotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = psutil.Process().memory_info().rss
    with peer_of(says(b"HTTP/1.1 200 OK\r\n\r\n", again=True)) as port:
        destination = make_notify(f"json://127.0.0.1:{port}", retries=0)
        monkeypatch.setattr(sending, "SEND_LIMIT_S", 20)
        Room(destination).sound("Dog")
        eventually(lambda: destination.n_lost)
    assert destination.problem
    assert psutil.Process().memory_info().rss - before < 30e6


def test_a_server_that_dribbles_is_left(
    make_notify: MakeNotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dribble(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            peer.sendall(b"x")
            time.sleep(0.2)

    with peer_of(dribble) as port:
        destination = make_notify(f"json://127.0.0.1:{port}", retries=0)
        monkeypatch.setattr(sending, "SEND_LIMIT_S", 3)
        Room(destination).sound("Dog")
        eventually(lambda: destination.n_lost)
    assert destination.problem == "json: no answer for 3 s"


def test_closing_waits_for_nobody_long(make_notify: MakeNotify) -> None:
    with peer_of(lambda peer: time.sleep(30)) as port:
        destination = make_notify(f"json://127.0.0.1:{port}")
        room = Room(destination)
        for label in ("Dog", "Cat"):
            room.sound(label)
        eventually(lambda: destination._told[0].sender._child._process)  # noqa: SLF001
        destination.close()
        process = destination._told[0].sender._child._process  # noqa: SLF001
        assert process is not None
        eventually(lambda: process.poll() is not None)
    assert destination.n_lost == 2


def test_what_apprise_says_becomes_one_line_without_addresses() -> None:
    said = {
        "Failed to send JSON POST notification: error=500.": "it answers with status 500",
        "exceeded with url: /hush ([Errno 111] Connection refused')": "connection refused",
        "Socket Exception: (535, b'5.7.8 hush')": "the mail server answers 535",
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: hush": "its certificate",
        "HTTPConnectionPool(host='hush'): Read timed out.": "no answer in time",
        "hush": "it does not take the message",
    }
    found = [sender.reason_of(text)[0] for text in said]
    assert [
        x for x, start in zip(found, said.values(), strict=True) if not x.startswith(start)
    ] == []
    assert not any("hush" in text for text in found)


def test_settings_show_no_address() -> None:
    assert "hush" not in repr(NotifyConfig(urls=("json://hush",)))
