"""A sound is taught from the page: what events were, then a press, then what was learned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_audio.history.schema import open_to_write
from edge_audio.listening.settings_file import load_config
from edge_audio.sounds.file import read_sounds
from tests.edge_audio.page.browser.test_looks import violations
from tests.support.browser import Visit
from tests.support.heard_clips import write_clip
from tests.support.page_listener import ROWS, PageListener
from tests.support.taught import beeps, bundle_with_negatives

if TYPE_CHECKING:
    from playwright.sync_api import Browser

N_CLIPS = 3


@pytest.fixture
def remembering(tmp_path: Path) -> Iterator[PageListener]:
    """A run that heard something two minutes ago, which it took for a dog."""
    columns = "id, utc_offset_s, stream, label, score, time_s, duration_s, is_sounding"
    with closing(open_to_write(tmp_path / "sounds.db")) as history:
        for seed in range(N_CLIPS):
            number = round(1e6 * (time.time() - 120.0 + seed))
            row = (number, 0, "kitchen", "Dog", 0.9, 0.5, 0.5, 0)
            history.execute(f"INSERT INTO events({columns}) VALUES (?,?,?,?,?,?,?,?)", row)  # noqa: S608
            write_clip(tmp_path / "clips", number, beeps(seed))
        history.commit()
    listener = PageListener(tmp_path, url="demo", more="[events]\nonly = ['Explosion']\n")
    settings = listener.config.read_text()
    model = bundle_with_negatives(tmp_path).path
    listener.config.write_text(f'model = "{model}"\nbackend = "native"\n{settings}')
    with listener:
        yield listener


def test_a_sound_is_taught(browser: Browser, remembering: PageListener) -> None:
    visit = Visit(browser, f"{remembering.address}#history")
    page = visit.page
    for i in range(N_CLIPS):
        page.locator(ROWS).nth(i).click()
        page.locator("#detail").get_by_role("button", name="It was …").click()
        page.get_by_label("What it was").fill("Oven")
        page.get_by_role("button", name="Save").click()
        page.locator("#detail").get_by_role("button", name="It was Oven").wait_for()
    page.locator("#detail").get_by_role("link", name="Teach this sound").click()
    row = page.locator(".teach-row", has_text="Oven")
    row.get_by_text("3 new recordings").wait_for()
    row.get_by_role("button", name="Teach Oven").click()
    page.get_by_text("Oven was learned").wait_for()
    assert "3 of 3 takes are found" in page.locator("#teach-said").inner_text()
    page.get_by_text("restart edge-audio to listen for it").wait_for()
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    assert violations(axe.run(page).response) == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert visit.overflow_px() == 0
    assert visit.complaints == []
    config = load_config(remembering.config)
    assert len(read_sounds(config.sounds).find("Oven").takes) == N_CLIPS

    remembering.stop()
    remembering.start()
    assert "Oven" in [each["label"] for each in remembering.get("labels")]
    visit.context.close()
