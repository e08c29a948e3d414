"""A page with a password, and a run that starts again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Visit
from tests.support.page_listener import PageListener

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "open sesame"


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[PageListener]:
    with PageListener(tmp_path, url="demo", password=PASSWORD) as listener:
        yield listener


def log_in(page: Page, password: str) -> None:
    page.get_by_label("Password of this listener").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_who_knows_the_password_gets_in_and_comes_back(
    browser: Browser, locked: PageListener
) -> None:
    """Sessions end with the process: after a restart the page asks again, without a reload."""
    visit = Visit(browser, locked.address)
    page = visit.page
    log_in(page, "sesame street")
    page.get_by_text("That is not the password").wait_for()
    assert not page.locator("#live").is_visible()
    log_in(page, PASSWORD)
    page.locator(".stream h2", has_text="kitchen").wait_for()
    locked.stop()
    page.get_by_text("Connecting again").wait_for()
    locked.start()
    page.locator("#login").wait_for()
    log_in(page, PASSWORD)
    page.locator("#connection", has_text="Connected").wait_for()
    page.evaluate("() => { location.hash = 'system'; }")
    page.get_by_role("button", name="Log out").click()
    page.locator("#login").wait_for()
    assert not page.locator("#system").is_visible()
    visit.context.close()
