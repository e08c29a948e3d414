"""Settings of the webhook: which are refused, and what changes while events wait."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.webhook.destination import WebhookConfig, WebhookDestination
from tests.edge_audio.sinks.webhook.webhook_parts import MARKS, MakeDestination, WebServer, tell
from tests.support.peers import eventually, free_port

pytestmark = MARKS


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
