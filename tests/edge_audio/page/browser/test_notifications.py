"""Notifications on the page: who is told, a test, quiet hours, labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_audio.listening.settings_file import load_config
from edge_audio.sinks.notify.config import NotifyConfig
from tests.edge_audio.sinks.notify.notify_parts import MessageServer
from tests.support.browser import Visit
from tests.support.page_listener import PageListener
from tests.support.peers import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def server() -> Iterator[MessageServer]:
    with closing(MessageServer()) as server:
        yield server


@pytest.fixture(scope="module")
def notified(
    tmp_path_factory: pytest.TempPathFactory, server: MessageServer
) -> Iterator[PageListener]:
    """A run that tells of nothing by itself."""
    settings = f'[notify] # who\nurls = ["phone = {server.url}"]\nscores = {{Dog = 1.0}}\n'
    quiet = 'quiet_hours = [\n  "00:00-24:00", # always\n]\n'
    folder = tmp_path_factory.mktemp("house")
    with PageListener(folder, url="demo", more=settings + quiet) as listener:
        yield listener


@pytest.fixture
def page(browser: Browser, notified: PageListener) -> Iterator[Page]:
    visit = Visit(browser, f"{notified.address}#notifications")
    yield visit.page
    visit.context.close()
    assert visit.complaints == []


def written(listener: PageListener) -> NotifyConfig:
    found = load_config(listener.config).notify
    assert found is not None
    return found


def test_a_test_is_sent_from_the_page(page: Page, server: MessageServer) -> None:
    row = page.locator("#recipient-table tbody tr")
    assert row.locator("th").inner_text() == "phone"
    row.get_by_role("button", name="Send a test to phone").click()
    row.get_by_text("the test was taken").wait_for()
    assert server.titles == ["edge-audio"]
    assert "hidden-path" not in page.content()


def test_quiet_hours_are_added_changed_and_removed(page: Page, notified: PageListener) -> None:
    page.get_by_text("Quiet hours now").wait_for()
    save = page.get_by_role("button", name="Save")
    assert save.is_disabled()
    assert page.get_by_label("From").input_value() == "00:00"
    page.get_by_role("button", name="Add quiet hours").click()
    second = page.locator(".quiet-row").nth(1)
    second.get_by_label("Days").select_option("Saturday, Sunday")
    second.get_by_label("From").fill("13:30")
    second.get_by_label("To").fill("15:00")
    page.wait_for_timeout(6000)  # a status that comes meanwhile takes nothing away
    save.click()
    eventually(lambda: len(written(notified).quiet_hours) == 2)
    assert written(notified).quiet_hours == ("00:00-24:00", "sat-sun 13:30-15:00")
    page.locator("#quiet-save[disabled]").wait_for()
    page.get_by_role("button", name="Remove these quiet hours").first.click()
    save.click()
    eventually(lambda: written(notified).quiet_hours == ("sat-sun 13:30-15:00",))
    assert "# who" in notified.config.read_text()


def test_labels_are_switched_and_urgent(page: Page, notified: PageListener) -> None:
    label = notified.get("notifications")["labels"][-1]["label"]
    page.get_by_label("Search labels that are told").fill(label.upper())
    switch = page.get_by_role("switch", name=f"Notify of {label}", exact=True)
    switch.click()
    page.locator('.told-row [aria-checked="false"]').first.wait_for()
    page.get_by_role("button", name=f"{label} is urgent", exact=True).click()
    page.locator('.told-row [aria-pressed="true"]').wait_for()
    assert (written(notified).exclude, written(notified).urgent) == ((label,), (label,))
    switch.click()
    page.locator('.told-row:not([hidden]) [aria-checked="true"]').wait_for()
    assert written(notified).exclude == ()


def test_without_recipients_the_page_says_what_to_do(browser: Browser, tmp_path: Path) -> None:
    with PageListener(tmp_path, url="demo") as listener:
        visit = Visit(browser, f"{listener.address}#notifications")
        visit.page.get_by_text("a section [notify] in the settings").wait_for()
        assert not visit.page.locator("#quiet-form").is_visible()
        visit.context.close()
