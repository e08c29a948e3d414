"""Who is notified, of what and when not, as the page shows and changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_audio.listening.settings_file import load_config
from edge_audio.page.sessions import AttemptLimit
from edge_audio.sinks.notify.config import NotifyConfig
from edge_audio.sinks.notify.destination import NotifyDestination
from tests.edge_audio.page.test_page_run import SETTINGS, opened
from tests.edge_audio.sinks.notify.notify_parts import MessageServer
from tests.support.open_page import Answer, OpenPage, open_page
from tests.support.peers import eventually, free_port
from tests.support.reloading import running


@pytest.fixture
def server() -> Iterator[MessageServer]:
    with closing(MessageServer()) as server:
        yield server


def page_with(server: MessageServer, **settings: Any) -> NotifyDestination:
    return NotifyDestination(NotifyConfig(urls=(f"phone = {server.url}",), **settings))


def test_recipients_are_shown_without_addresses(server: MessageServer) -> None:
    settings = {"recipients": {"phone": ("Dog",)}, "urgent": ("dog",), "exclude": ("Cat",)}
    with closing(page_with(server, **settings)) as notify, open_page(notify) as opened:
        answer = opened.browser.get("notifications")
        assert b"hidden" not in answer.body
        (phone,) = answer.json["recipients"]
        assert (phone["name"], phone["service"], phone["problem"]) == ("phone", "json", "")
        assert phone["labels"] == ["Dog"]
        assert answer.json["labels"] == [{"label": "Dog", "is_told": True, "is_urgent": True}]
        assert (answer.json["is_quiet"], answer.json["sends_clips"]) == (False, False)


def test_a_test_is_sent_and_told_of(server: MessageServer) -> None:
    with closing(page_with(server)) as notify, open_page(notify) as opened:
        opened.browser.take_token()
        opened.context.tests = AttemptLimit(5, 20.0, clock=lambda: 0.0)
        answer = asked_for_a_test(opened, "phone")
        assert (answer.status, answer.json) == (200, {"problem": ""})
        assert server.titles == ["edge-audio"]
        assert asked_for_a_test(opened, "nobody").status == 404
        for _ in range(3):
            assert asked_for_a_test(opened, "nobody").status == 404
        refused = asked_for_a_test(opened, "phone")
        assert (refused.status, "retry-after" in refused.headers) == (429, True)
        opened.browser.token = ""
        assert asked_for_a_test(opened, "phone").status == 403


def asked_for_a_test(opened: OpenPage, name: str) -> Answer:
    return opened.browser.ask("POST", "notifications/test", {"recipient": name})


def test_without_recipients_there_is_nothing_to_change(tmp_path: Path) -> None:
    with open_page() as opened:
        opened.browser.take_token()
        assert opened.browser.get("notifications").json["recipients"] == []
        ask = opened.browser.ask
        refused = ask("PUT", "notifications", {"quiet_hours": ["22:00-07:00"]})
        assert (refused.status, "[notify]" in refused.error) == (409, True)
        assert ask("PUT", "notifications", {"quiet_hours": ["late"]}).status == 400
        assert ask("PUT", "notifications", {"quiet_hours": ["x" * 100]}).status == 400
        assert ask("PUT", "notifications/labels/Dog", {"is_told": False}).status == 409
        assert ask("PUT", "notifications/labels/Dog", {}).status == 400
        assert ask("PUT", "notifications/labels/Unicorn", {"is_told": False}).status == 404
    with open_page(controls=False) as opened:
        opened.browser.take_token()
        assert opened.browser.ask("PUT", "notifications", {"quiet_hours": []}).status == 403


def test_quiet_hours_of_the_page_hold_at_once_and_go_into_the_file(
    server: MessageServer, tmp_path: Path
) -> None:
    """The demo's sounds are told until it is quiet, and one of them then, too."""
    port = free_port()
    notify = f'[notify] # the family\nurls = ["{server.url}"]\npause_s = 0\nmax_per_hour = 3600\n'
    text = (SETTINGS % port).replace("{Dog = 0.02}", "{Dog = 0.02, Speech = 0.02}") + notify
    with running(tmp_path, text) as started:
        browser = opened(port, started.process)
        eventually(lambda: server.titles)
        wish = {"quiet_hours": ["00:00-24:00"]}
        assert browser.ask("PUT", "notifications", wish).status == 204
        assert browser.ask("PUT", "notifications/labels/Dog", {"is_urgent": True}).status == 204
        shown = browser.get("notifications").json
        assert shown["is_quiet"]
        assert {"label": "Dog", "is_told": True, "is_urgent": True} in shown["labels"]
        written = (tmp_path / "home.toml").read_text()
        assert "# the family" in written
        config = load_config(tmp_path / "home.toml").notify
        assert config is not None
        assert (config.quiet_hours, config.urgent) == (("00:00-24:00",), ("Dog",))
        said = started.stop()
    assert "quiet hours: 00:00-24:00 (by 127.0.0.1)" in said
    assert "nothing lost" in said


def test_without_a_file_they_hold_for_this_run(server: MessageServer) -> None:
    from tests.support.command_line import listening

    port = free_port()
    flags = ("--source", "demo", "--format", "none", "--page", port, "--notify", server.url)
    with listening(*flags) as process:
        browser = opened(port, process)
        wish = {"quiet_hours": ["00:00-24:00"]}
        assert browser.ask("PUT", "notifications", wish).status == 204
        assert browser.get("notifications").json["is_quiet"]
        assert browser.ask("PUT", "notifications/labels/Dog", {"is_told": False}).status == 204
        (dog,) = [x for x in browser.get("notifications").json["labels"] if x["label"] == "Dog"]
        assert not dog["is_told"]
