"""Events reach a real web server, whatever becomes of it in between."""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.webhook.destination import WebhookConfig, WebhookDestination
from edge_audio.sources.stream import Stream
from tests.support.peers import (
    DEADLINE_S,
    all_that_it_holds,
    eventually,
    free_port,
    make_certificates,
    peer_of,
)

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

Reply = tuple[int, dict[str, str]]  # status and headers
MakeDestination = Callable[..., WebhookDestination]


class WebServer:
    """Keeps what is posted, and answers with the given replies in turn, after them with 200."""

    def __init__(self, *replies: Reply, certificates: Path | None = None) -> None:
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []  # headers and record
        self.arrived_s: list[float] = []
        left = list(replies)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.arrived_s.append(time.monotonic())
                self.posts.append((dict(handler.headers), json.loads(body)))
                status, headers = left.pop(0) if left else (200, {})
                handler.send_response(status)
                for header in headers.items():
                    handler.send_header(*header)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificates is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/hidden-path"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def times_s(self) -> list[float]:
        """Of the events, in the order of arrival."""
        return [record["time_s"] for _, record in list(self.posts)]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., WebServer]]:
    made: list[WebServer] = []

    def make(*replies: Reply, **options: Any) -> WebServer:
        made.append(WebServer(*replies, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def make_destination() -> Iterator[MakeDestination]:
    """Destinations that try again soon, and are closed after the test."""
    made: list[WebhookDestination] = []

    def make(url: str, **settings: Any) -> WebhookDestination:
        made.append(
            WebhookDestination(WebhookConfig(**{"url": url, "backoff_s": 0.01, **settings}))
        )
        return made[-1]

    yield make
    for destination in made:
        destination.close()


def tell(destination: WebhookDestination, n_events: int, first: int = 0) -> None:
    stream = Stream(name="kitchen", labels=("Siren",), sample_rate_hz=16_000, live=True)
    sink = destination.open(stream)
    for i in range(first, first + n_events):
        sink.on_event(Event(kind="start", label="Siren", time_s=float(i), score=0.75))


def letters(path: Path) -> list[float]:
    return [json.loads(line)["time_s"] for line in path.read_text().splitlines()]


def test_an_event_is_posted_as_json_with_headers_and_token(
    serve: Callable[..., WebServer],
    make_destination: MakeDestination,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "hush")
    server = serve()
    destination = make_destination(server.url, headers={"X-Room": "kitchen"}, bearer_env="TOKEN")
    tell(destination, 1, first=3)
    eventually(lambda: server.posts)
    headers, record = server.posts[0]
    assert "at" in record
    expected = {"time_s": 3.0, "stream": "kitchen", "kind": "start", "label": "Siren"}
    assert expected.items() <= record.items()
    assert headers["Content-Type"] == "application/json"
    assert (headers["X-Room"], headers["Authorization"]) == ("kitchen", "Bearer hush")
    assert (destination.problem, destination.n_lost) == ("", 0)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_that_cannot_now_is_asked_again_and_order_is_kept(
    serve: Callable[..., WebServer], make_destination: MakeDestination, status: int
) -> None:
    server = serve((status, {}), (status, {}))
    destination = make_destination(server.url)
    tell(destination, 5)
    eventually(lambda: len(server.posts) == 7)
    assert server.times_s() == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    eventually(lambda: destination.problem == "")
    assert destination.n_lost == 0


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [(400, {}, "status 400"), (404, {}, "status 404"), (302, {"Location": "/x"}, "redirect")],
)
def test_what_will_never_be_taken_is_kept_as_a_dead_letter(
    serve: Callable[..., WebServer],
    make_destination: MakeDestination,
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    said: str,
) -> None:
    server = serve((status, headers))
    path = tmp_path / "letters"
    destination = make_destination(server.url, dead_letter=str(path))
    tell(destination, 1)
    eventually(path.read_text)
    assert said in destination.problem
    tell(destination, 1, first=1)
    eventually(lambda: len(server.posts) == 2)
    assert server.times_s() == [0.0, 1.0]
    assert letters(path) == [0.0]
    assert path.stat().st_mode & 0o077 == 0


def test_no_token_follows_a_redirect(
    serve: Callable[..., WebServer],
    make_destination: MakeDestination,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "hush")
    elsewhere = serve()
    server = serve((307, {"Location": elsewhere.url}))
    destination = make_destination(server.url, bearer_env="TOKEN")
    tell(destination, 1)
    eventually(lambda: destination.n_lost == 1)
    assert elsewhere.posts == []


def test_a_server_is_left_alone_for_as_long_as_it_asks(
    serve: Callable[..., WebServer], make_destination: MakeDestination
) -> None:
    server = serve((429, {"Retry-After": "1"}), (503, {"Retry-After": "soon"}))
    tell(make_destination(server.url), 1)
    eventually(lambda: len(server.posts) == 3)
    assert server.arrived_s[1] - server.arrived_s[0] >= 1.0


def test_events_are_given_up_after_so_many_attempts(
    serve: Callable[..., WebServer], make_destination: MakeDestination, tmp_path: Path
) -> None:
    server = serve(*[(500, {})] * 3)
    path = tmp_path / "letters"
    destination = make_destination(server.url, retries=2, dead_letter=str(path))
    tell(destination, 2)
    eventually(lambda: len(server.posts) == 4)
    assert server.times_s() == [0.0, 0.0, 0.0, 1.0]
    assert letters(path) == [0.0]
    assert destination.n_lost == 0


def test_without_a_server_all_become_dead_letters_in_order(
    make_destination: MakeDestination, tmp_path: Path
) -> None:
    path = tmp_path / "letters"
    destination = make_destination(
        f"http://127.0.0.1:{free_port()}/", backoff_s=60.0, dead_letter=str(path)
    )
    tell(destination, 20)
    eventually(lambda: destination.problem == "connection refused")
    destination.close()
    assert letters(path) == [float(i) for i in range(20)]
    assert destination.n_lost == 0


def test_closing_tries_once_more_and_waits_no_longer(
    serve: Callable[..., WebServer], make_destination: MakeDestination
) -> None:
    server = serve(*[(500, {})] * 10)
    destination = make_destination(server.url, backoff_s=60.0)
    tell(destination, 1)
    eventually(lambda: destination.problem)
    destination.close()
    assert len(server.posts) == 2


def test_a_full_queue_loses_its_oldest_events_and_counts_them(
    make_destination: MakeDestination,
) -> None:
    destination = make_destination(f"http://127.0.0.1:{free_port()}/", backoff_s=60.0, queue=5)
    tell(destination, 1)
    eventually(lambda: destination.problem)
    tell(destination, 20, first=1)
    assert destination.n_lost == 15
    destination.close()
    assert destination.n_lost == 21


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


def test_closing_takes_seconds_though_the_answer_never_ends(
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
        start_s = time.monotonic()
        destination.close()
        assert time.monotonic() - start_s < 10.0  # 3.5 s on a machine with nothing else to do
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://host/"},
        {"url": "file:///etc/passwd"},
        {"url": "http:///path"},
        {"url": "http://host/a b"},
        {"url": "http://host/\n"},
        {"url": "http://host:99999/"},
        {"url": "http://user:pass@host/"},
        {"headers": {"A:": "b"}},
        {"headers": {"A": "b\r\nC: d"}},
        {"headers": {"authorization": "Bearer hush"}},
        {"bearer_env": "A", "bearer_file": "b"},
        {"timeout_s": 0.0},
        {"retries": -1},
        {"backoff_s": float("nan")},
        {"queue": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|need|not both|[Pp]ort|range"):
        WebhookConfig(**{"url": "https://host/", **wrong})


def test_what_is_missing_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letter_path = str(tmp_path / "absent" / "letters")
    monkeypatch.setenv("TOKEN", "hush\x01")
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"dead_letter": letter_path}, "No such file"),
        ({"ca_file": str(tmp_path / "ca.pem")}, "certificates"),
        ({"bearer_env": "EDGE_AUDIO_ABSENT"}, "EDGE_AUDIO_ABSENT"),
        ({"bearer_env": "TOKEN"}, "ASCII"),
    )
    for settings, said in cases:
        with pytest.raises(UsageError, match=said) as caught:
            WebhookDestination(WebhookConfig(url="https://host/", **settings))
        assert "hush" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(UsageError, match=r"pip install 'edge-audio\[webhook\]'"):
        WebhookDestination(WebhookConfig(url="https://host/"))


def test_what_waits_goes_to_the_address_that_is_named_now_and_at_once(
    serve: Callable[..., WebServer], make_destination: MakeDestination
) -> None:
    server = serve()
    destination = make_destination(f"http://127.0.0.1:{free_port()}/", backoff_s=60.0, queue=3)
    tell(destination, 5)  # one is being delivered, one finds no room
    eventually(lambda: destination.problem == "connection refused" and destination.n_lost)
    go_on = destination.reconfigure(WebhookConfig(url=server.url), ExitStack())
    assert go_on is not None
    n_lost = destination.n_lost
    go_on()
    tell(destination, 10, first=5)
    eventually(lambda: len(server.posts) == 15 - n_lost)
    assert server.times_s() == sorted(server.times_s())
    assert server.times_s()[-11:] == [4.0, *map(float, range(5, 15))]
    assert (destination.problem, destination.n_lost) == ("", n_lost)


def test_settings_that_cannot_be_had_change_nothing(
    serve: Callable[..., WebServer], make_destination: MakeDestination, tmp_path: Path
) -> None:
    server = serve()
    destination = make_destination(server.url)
    for wrong in (
        WebhookConfig(url="http://other/", bearer_env="EDGE_AUDIO_ABSENT"),
        WebhookConfig(url="http://other/", ca_file=str(tmp_path / "absent")),
        WebhookConfig(url="http://other/", dead_letter=str(tmp_path / "absent" / "file")),
    ):
        with pytest.raises(UsageError):
            destination.reconfigure(wrong, ExitStack())
    tell(destination, 3)
    eventually(lambda: len(server.posts) == 3)


def test_attempts_are_counted_anew_after_a_change(
    serve: Callable[..., WebServer], make_destination: MakeDestination
) -> None:
    server = serve((503, {}), (503, {}), (503, {}))
    destination = make_destination(server.url, retries=1, backoff_s=1.0)
    tell(destination, 1)
    eventually(lambda: server.posts)
    go_on = destination.reconfigure(
        WebhookConfig(url=server.url, retries=3, backoff_s=0.01), ExitStack()
    )
    assert go_on is not None
    go_on()
    eventually(lambda: len(server.posts) == 4)
    eventually(lambda: destination.problem == "")
    assert destination.n_lost == 0
