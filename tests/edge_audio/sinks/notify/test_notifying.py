"""People are told of what they want to know, and no more often than they want."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_audio.errors import UsageError
from edge_audio.sinks.delivery import Outcome
from edge_audio.sinks.notify import destination as module
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sinks.notify.limits import HOUR_S, Limits
from edge_audio.sinks.notify.sending import check_addresses
from tests.edge_audio.sinks.notify.notify_parts import MakeNotify, MessageServer, Room
from tests.support.peers import all_that_it_holds, eventually

Serve = Callable[..., MessageServer]
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


def test_an_event_becomes_a_message(serve: Serve, make_notify: MakeNotify) -> None:
    server = serve()
    room = Room(make_notify(server.url))
    room.sound("Dog", score=0.75)
    eventually(lambda: server.told)
    title, text = server.told[0]
    assert title == "Dog"
    assert re.fullmatch(r"kitchen, \d\d:\d\d:\d\d, score 0\.75", text)
    assert server.paths == ["/hidden-path"]


def test_ntfy_is_told_of_another_text(serve: Serve, make_notify: MakeNotify) -> None:
    server = serve()
    url = f"ntfy://127.0.0.1:{server.port}/home"
    room = Room(make_notify(url, title="{stream}: {label}", text="It was {score} sure{more}."))
    room.start("Siren", score=0.5)
    eventually(lambda: server.bodies)
    told = msgspec.json.decode(server.bodies[0])
    assert (told["topic"], told["title"], told["message"]) == (
        "home", "kitchen: Siren", "It was 0.50 sure."
    )  # fmt: skip


def test_what_is_held_back_is_counted_in_the_next_message(
    serve: Serve, make_notify: MakeNotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "Limits", lambda: Limits(clock=lambda: now[0]))
    server = serve()
    room = Room(make_notify(server.url, pause_s=60.0))
    for _ in range(5):
        room.sound("Dog")
    room.sound("Cat")
    now[0] = 61.0
    room.sound("Dog")
    eventually(lambda: len(server.titles) == 3)
    assert server.titles == ["Dog", "Cat", "Dog, and 4 more"]


def test_all_labels_share_a_limit_that_urgent_ones_break() -> None:
    now = [0.0]
    limits = Limits(clock=lambda: now[0])
    told = [limits.admit(label, 300.0, 2) for label in ("a", "b", "c", "c")]
    assert told == [0, 0, None, None]
    assert limits.admit("alarm", 300.0, 2, is_urgent=True) == 0
    assert limits.admit("alarm", 300.0, 2, is_urgent=True) is None
    assert limits.n_all == 3
    now[0] = HOUR_S
    assert limits.admit("c", 300.0, 2) == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"only": ("dog",)}, ["Dog"]),
        ({"exclude": ("DOG",)}, ["Cat", "Siren"]),
        ({"scores": {"dog": 0.8, "cat": 0.95}}, ["Dog", "Siren"]),
        ({"quiet_hours": ("00:00-24:00",), "urgent": ("siren",)}, ["Siren"]),
        ({"quiet_hours": ("00:00-24:00",)}, []),
    ],
)
def test_labels_scores_and_quiet_hours_choose(
    serve: Serve, make_notify: MakeNotify, settings: dict[str, Any], told: list[str]
) -> None:
    """Scores rise to 0.9 by the end of each sound."""
    server = serve()
    destination = make_notify(server.url, **settings)
    room = Room(destination)
    for label in ("Dog", "Cat", "Siren"):
        room.sound(label)
    eventually(lambda: len(server.titles) >= len(told))
    destination.close()
    assert server.titles == told


def test_each_recipient_is_told_of_its_labels(serve: Serve, make_notify: MakeNotify) -> None:
    phone, office = serve(), serve()
    destination = make_notify(
        f"my phone = {phone.url}", f"office={office.url}", recipients={"office": ("Cat",)}
    )
    room = Room(destination)
    room.sound("Dog")
    room.sound("Cat")
    eventually(lambda: len(phone.titles) == 2 and office.titles)
    assert (phone.titles, office.titles) == (["Dog", "Cat"], ["Cat"])
    assert [x.name for x in destination.recipients] == ["my phone", "office"]


def test_one_that_is_dead_holds_up_no_other(serve: Serve, make_notify: MakeNotify) -> None:
    server = serve()
    destination = make_notify("json://127.0.0.1:9/x", server.url, retries=100, backoff_s=1.0)
    room = Room(destination)
    room.sound("Dog")
    eventually(lambda: server.titles and destination.problem)
    assert destination.problem == "json: connection refused"
    assert destination.name == "notify"


def test_settings_that_change_keep_what_waits(
    serve: Serve, make_notify: MakeNotify, tmp_path: Path
) -> None:
    file, server = tmp_path / "who", serve(503)
    file.write_text(f"# people\n\nphone = {server.url}\n")
    file.chmod(0o600)
    settings: dict[str, Any] = {"urls_file": str(file), "backoff_s": 60.0}
    destination = make_notify(**settings)
    room = Room(destination)
    room.sound("Dog")
    eventually(lambda: destination.problem)
    with ExitStack() as undo:
        go_on = destination.reconfigure(NotifyConfig(**settings, exclude=("Cat",)), undo)
    assert go_on is not None
    go_on()
    room.sound("Cat")
    room.sound("Siren")
    eventually(lambda: len(server.titles) == 3)
    assert server.titles == ["Dog", "Dog", "Siren"]
    other = serve()
    file.write_text(f"office = {other.url}\n")
    with ExitStack() as undo:
        renewed = destination.refresh(undo)
    assert renewed is not None
    renewed()
    room.sound("Cat")
    destination.limits.n_held.clear()
    with ExitStack() as undo, pytest.raises(UsageError, match="unknown label 'Dgo'"):
        destination.reconfigure(NotifyConfig(**settings, only=("Dgo",)), undo)
    assert [x.name for x in destination.recipients] == ["office"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "say who is told"),
        ({"urls": ("json://host",), "title": "{label.__class__}"}, "title may have"),
        ({"urls": ("json://host",), "text": "{label!r}"}, "text may have"),
        ({"urls": ("json://host",), "text": "{"}, "text: "),
        ({"urls": ("json://host",), "scores": {"Dog": 2.0}}, "probabilities"),
        ({"urls": ("json://host",), "quiet_hours": ("late",)}, "quiet_hours: 'late'"),
        ({"urls": ("json://host",), "retries": 1000}, "retries"),
        ({"urls": ("json://host",), "clip_wait_s": -1.0}, "clip_wait_s"),
        ({"urls_file": "a", "urls_env": "b"}, "not both"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NotifyConfig(**settings)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (("no-address-hush",), "address 1 is none"),
        (("json://localhost", "nonsense://hush"), "cannot use the address of nonsense"),
        (("tgram://hush",), "cannot use the address of tgram"),
    ],
)
def test_no_message_shows_an_address(urls: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        module.NotifyDestination.check(NotifyConfig(urls=urls), ())
    assert "hush" not in str(raised.value)


def test_an_address_that_apprise_does_not_know_becomes_the_problem(
    make_notify: MakeNotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out in another thread: a run that listens does not wait for it."""
    go = threading.Event()

    def slow(recipients: object) -> None:
        go.wait(60)
        check_addresses(recipients)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "check_addresses", slow)
    destination = make_notify("nonsense://hush")
    assert destination.problem == ""
    go.set()
    eventually(lambda: destination.problem)
    assert destination.problem.startswith("Apprise cannot use the address of nonsense")
    with ExitStack() as undo:
        mended = destination.reconfigure(NotifyConfig(urls=("json://127.0.0.1:9",)), undo)
    assert mended is not None
    mended()
    eventually(lambda: destination.problem == "")


def test_no_debugger_sees_an_address(make_notify: MakeNotify) -> None:
    destination = make_notify("json://127.0.0.1:9/hush")
    Room(destination).sound("Dog")
    eventually(lambda: destination.problem)
    assert "hush" not in all_that_it_holds(destination)


def test_a_variable_holds_addresses(
    serve: Serve, make_notify: MakeNotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("WHO", f"{server.url}\n{server.url}")
    destination = make_notify(urls_env="WHO")
    assert [x.name for x in destination.recipients] == ["json", "json-2"]
    assert destination.test("json-2") == Outcome()
    assert destination.test("nobody") is None
    assert server.titles == ["edge-audio"]
    monkeypatch.setenv("WHO", "\n")
    with pytest.raises(UsageError, match="no secret in the environment variable WHO"):
        make_notify(urls_env="WHO")


def test_the_time_of_a_message_is_that_of_the_place(serve: Serve, make_notify: MakeNotify) -> None:
    server = serve()
    Room(make_notify(server.url, title="{time}")).start("Dog")
    eventually(lambda: server.titles)
    told = datetime.strptime(server.titles[0], "%H:%M:%S")  # noqa: DTZ007 - of the place
    passed_s = (datetime.now() - told).total_seconds() % 86_400  # noqa: DTZ005
    assert passed_s < 120


def test_who_waits_for_a_label_that_is_off_is_told_so(make_notify: MakeNotify) -> None:
    destination = make_notify("json://127.0.0.1:9", only=("dog", "Cat"), urgent=("Siren",))
    room = Room(destination)
    room.sink.on_watch(["Dog"])
    said = sorted(destination.take_remarks())
    assert [text.partition(" is off")[0] for text in said] == ["Cat", "Siren"]
    room.sink.on_watch(["Dog", "Cat"])
    assert destination.take_remarks() == []
