"""A browser and a run that listens, for each file: Playwright has one browser at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from tests.support.browser import Visit, launched, started_playwright
from tests.support.open_page import HOSTILE
from tests.support.page_listener import PageListener, fill_history

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOG = "audio/esc10/5-203128-A.ogg"
N_STORED = 10_000
QUIET = '[notify]\nurls = ["phone = json://127.0.0.1:9"]\nquiet_hours = ["00:00-24:00"]\n'
STORED = ("Speech", "Music", "Bird", "Cat", "Doorbell", HOSTILE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    for library in ("starlette", "tomlkit", "uvicorn"):
        pytest.importorskip(library, reason="needs the extra page")
    with started_playwright() as playwright, launched(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[PageListener]:
    """A run that hears a dog bark every few seconds, and remembers 10,000 events."""
    folder = tmp_path_factory.mktemp("house")
    fill_history(folder / "sounds.db", STORED, N_STORED, time.time() - 3600.0)
    with PageListener(folder, more=QUIET) as listener:
        listener.feed(soundfile.read(data_dir / DOG, dtype="int16")[0])
        yield listener


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
