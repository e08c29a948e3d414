"""Every view, on small and large screens, in both schemes, and for a screen reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Visit
from tests.support.page_listener import ROWS

VIEWS = ("live", "history", "labels", "notifications", "system")
PHONE = {"width": 320, "height": 640}
TELEVISION = {"width": 3840, "height": 2160}


def shown(visit: Visit, view: str) -> None:
    """Goes to a view, and waits for what is in it."""
    visit.page.evaluate("(view) => { location.hash = view; }", view)
    filled = {
        "live": "#recent .event",
        "history": ROWS,
        "labels": ".label-row:not([hidden])",
        "notifications": ".told-row",
        "system": "#stream-table td",
    }
    visit.page.locator(filled[view]).first.wait_for()


@pytest.mark.parametrize("size", [PHONE, TELEVISION], ids=["phone", "television"])
def test_a_view_fits_the_screen(
    visit: Callable[..., Visit], size: dict[str, int], tmp_path: Path
) -> None:
    opened = visit("#live", viewport=size)
    for view in VIEWS:
        shown(opened, view)
        assert (view, opened.overflow_px()) == (view, 0)
        opened.page.screenshot(path=tmp_path / f"{view}.png")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_view_is_accessible(visit: Callable[..., Visit], scheme: str) -> None:
    """As far as axe can tell: contrasts, names, roles, landmarks."""
    reason = "needs axe: pip install 'edge-audio[browser]'"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe()
    opened = visit("#live", color_scheme=scheme, viewport={"width": 1280, "height": 800})
    for view in VIEWS:
        shown(opened, view)
        if view == "history":
            opened.page.locator(ROWS).first.click()
        assert (view, violations(axe.run(opened.page).response)) == (view, [])


def violations(response: dict[str, Any]) -> list[str]:
    return [
        f"{found['id']} ({found['impact']}): {found['nodes'][0]['html'][:200]}"
        for found in response["violations"]
    ]
