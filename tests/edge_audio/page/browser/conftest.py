"""A browser and a run that listens, for each file: Playwright has one browser at a time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from tests.support.open_page import HOSTILE
from tests.support.page_listener import WAIT_S, PageListener, Visit, fill_history

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOG = "audio/esc10/5-203128-A.ogg"
N_STORED = 10_000
STORED = ("Speech", "Music", "Bird", "Cat", "Doorbell", HOSTILE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    reason = "needs playwright: pip install 'edge-audio[browser]'"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    for library in ("starlette", "tomlkit", "uvicorn"):
        pytest.importorskip(library, reason="needs the extra page")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=1000 * WAIT_S
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[PageListener]:
    """A run that hears a dog bark every few seconds, and remembers 10,000 events."""
    listener = PageListener(tmp_path_factory.mktemp("house"))
    fill_history(listener.folder / "sounds.db", STORED, N_STORED, time.time() - 3600.0)
    listener.start()
    listener.feed(soundfile.read(data_dir / DOG, dtype="int16")[0])
    yield listener
    listener.stop()


@pytest.fixture
def visit(browser: Browser, listener: PageListener) -> Iterator[Callable[..., Visit]]:
    """Opens a view, such as "#history"; what a page complains of fails the test."""
    visits: list[Visit] = []

    def open_view(view: str = "", **options: Any) -> Visit:
        visits.append(Visit(browser, listener.address + view, **options))
        return visits[-1]

    yield open_view
    for each in visits:
        each.context.close()
        assert each.complaints == []
        assert [url for url in each.requests if not url.startswith(listener.address)] == []
