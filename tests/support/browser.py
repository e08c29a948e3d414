"""Chromium without a window, and a page that it was sent to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright, Request

WAIT_S = 120.0  # reached only by what never comes


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def started_playwright() -> Iterator[Playwright]:
    """Only one at a time. Skips the test where it or Chromium is missing."""
    reason = "needs playwright: pip install 'edge-audio[browser]'"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    if find_chromium() is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        yield playwright


@contextmanager
def launched(playwright: Playwright, *arguments: str, wait_s: float = WAIT_S) -> Iterator[Browser]:
    """Chromium with more arguments; it is closed at the end."""
    browser = playwright.chromium.launch(
        executable_path=find_chromium(), args=["--no-sandbox", *arguments], timeout=1000 * wait_s
    )
    try:
        yield browser
    finally:
        browser.close()


class Visit:
    """A page that was opened, and all that it asked for and complained of."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        barred: str = "",
        wait_s: float = WAIT_S,
        **options: Any,
    ) -> None:
        """barred: a pattern of addresses that the page does not get. wait_s: for anything."""
        self.context = browser.new_context(**options)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(1000 * wait_s)
        self.context.on("request", self._on_request)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda _: self.complaints.append("a dialog"))
        if barred:
            self.page.route(barred, lambda route: route.abort())
        self.page.goto(address)

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def overflow_px(self) -> int:
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))


def keep_picture(page: Page, path: Path, **options: Any) -> None:
    """A picture of the page in 128 colours."""
    from PIL import Image

    page.screenshot(path=path, **options)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)
