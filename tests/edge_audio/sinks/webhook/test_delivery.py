"""Events reach a real web server in order, whatever becomes of it in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_audio.sinks.webhook.post import DeadLetters
from tests.edge_audio.sinks.webhook.webhook_parts import (
    MARKS,
    MakeDestination,
    WebServer,
    letters,
    tell,
)
from tests.support.limits import files_up_to
from tests.support.peers import eventually, free_port

pytestmark = MARKS


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


def test_a_letter_that_a_full_disk_tore_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "letters"
    dead_letters = DeadLetters(str(path))
    dead_letters.append('{"time_s": 1.0}')
    with files_up_to(20), pytest.raises(OSError, match="large"):
        dead_letters.append('{"time_s": 2.0}')
    dead_letters.append('{"time_s": 3.0}')
    path.write_text(path.read_text() + '{"torn')
    dead_letters.append('{"time_s": 4.0}')
    assert path.read_text().splitlines() == [
        *('{"time_s": 1.0}', '{"time_s": 3.0}', '{"torn', '{"time_s": 4.0}')
    ]


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
