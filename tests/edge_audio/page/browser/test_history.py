"""Earlier events on the page: found, scrolled through, heard and judged."""

from __future__ import annotations

import io
import sqlite3
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import soundfile

from tests.edge_audio.page.browser.conftest import N_STORED
from tests.support.browser import WAIT_S, Visit
from tests.support.open_page import HOSTILE
from tests.support.page_listener import ROWS, SCROLL, PageListener, read_to_the_end

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

N_FRAMES = 60


def month(visit: Callable[..., Visit], address: str = "", **options: Any) -> Page:
    """The history of a month, when its events are there. address: where visit takes one."""
    page = visit(f"{address}#history", viewport={"width": 1280, "height": 800}, **options).page
    page.locator(ROWS).first.wait_for()
    with page.expect_response(lambda answer: "/events?" in answer.url):
        page.get_by_role("button", name="Month").click()
    page.wait_for_function(
        "n => parseInt(document.getElementById('n-events').textContent.replace(/\\D/g, '')) >= n",
        arg=N_STORED,
    )
    return page


def await_only(page: Page, label: str) -> None:
    """Waits until the list has events of one label alone."""
    page.wait_for_function(
        "label => [...document.querySelectorAll('#events [role=option]:not([hidden]) .name')]"
        ".every((name) => name.textContent === label)",
        arg=label,
    )


def test_of_ten_thousand_events_those_in_sight_are_drawn(
    browser: Browser, listener: PageListener
) -> None:
    """What a frame costs says benchmarks/page_scroll.py."""
    page = month(partial(Visit, browser), listener.address, barred="**/live")
    read_to_the_end(page)
    assert int(page.locator(ROWS).last.get_attribute("aria-setsize") or 0) >= N_STORED
    page.evaluate("() => { document.getElementById('events').scrollTop = 0; }")
    page.evaluate(SCROLL, N_FRAMES)
    assert page.locator("#events [role=option]").count() < 60
    page.context.close()


def test_events_are_found_by_label_and_by_key(visit: Callable[..., Visit]) -> None:
    page = month(visit)
    page.locator(".lane-name", has_text="Doorbell").click()
    page.locator("#label-chip", has_text="Doorbell").wait_for()
    await_only(page, "Doorbell")
    page.locator("#label-chip").click()
    page.locator("#search").fill("cat")
    await_only(page, "Cat")
    assert page.locator(".lane-name").count() == 1
    page.locator("#stream-filter").select_option("kitchen")
    page.locator("#events-none").wait_for()  # cats were heard in the garden
    page.locator("#stream-filter").select_option("garden")
    page.locator(ROWS).first.wait_for()
    page.locator("#events").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageDown")
    assert page.locator(".detail h2").inner_text() == "Cat"
    before = page.locator("#range").inner_text()
    page.locator("#zoom-in").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#range").inner_text() != before


def test_an_event_of_another_year_has_its_day(visit: Callable[..., Visit]) -> None:
    page = visit("#history", viewport={"width": 1280, "height": 800}).page
    page.locator(ROWS).first.wait_for()
    assert page.locator(ROWS).first.locator(".day").inner_text() == ""
    same_date = datetime.now(timezone.utc) + timedelta(days=4 * 365 + 1)
    page.clock.set_fixed_time(same_date)
    page.locator("#search").fill("bark")  # has the events come anew
    await_only(page, "Bark")
    page.locator(f"{ROWS} .day:not(:empty)").first.wait_for()


def test_names_are_texts_whatever_they_say(visit: Callable[..., Visit]) -> None:
    page = month(visit)
    lane = page.locator(".lane-name .name", has_text=HOSTILE)
    lane.click()
    await_only(page, HOSTILE)
    page.locator(ROWS).first.click()
    assert page.locator(".detail h2").inner_text() == HOSTILE
    assert page.locator("img").count() == 0


def with_clip(listener: PageListener) -> dict[str, Any]:
    """The newest event of which there is a recording."""
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        for event in listener.get("events?limit=50&stream=kitchen")["events"]:
            if event["has_clip"]:
                return dict(event)
        time.sleep(0.5)
    raise AssertionError("no clip")


def test_a_clip_is_seen_and_played(visit: Callable[..., Visit], listener: PageListener) -> None:
    event = with_clip(listener)
    with urllib.request.urlopen(f"{listener.address}api/v1/events/{event['id']}/clip") as answer:
        duration_s = soundfile.info(io.BytesIO(answer.read())).duration
    page = visit("", viewport={"width": 400, "height": 800}).page
    page.locator(f"[data-id='{event['id']}']").click()
    clip = page.locator("#sheet .clip[data-duration-s]")
    clip.wait_for()
    assert float(clip.get_attribute("data-duration-s") or 0) == pytest.approx(duration_s, abs=0.1)
    clip.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.querySelector('.clip canvas').ariaValueNow > 0.2")
    clip.get_by_role("button", name="Pause").click()
    clip.locator("canvas").press("Home")
    assert page.locator(".clip canvas").get_attribute("aria-valuenow") == "0.0"


def test_what_somebody_says_of_an_event_is_kept(
    visit: Callable[..., Visit], listener: PageListener
) -> None:
    page = month(visit)
    page.locator(ROWS).nth(3).click()
    page.get_by_role("button", name="Wrong").click()
    page.locator("[data-verdict=wrong][aria-pressed=true]").wait_for()
    assert verdicts(listener) == [("wrong", None)]
    page.get_by_role("button", name="It was").click()
    page.get_by_label("What it was").fill("Cat")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="It was Cat", pressed=True).wait_for()
    assert verdicts(listener) == [("other", "Cat")]
    page.get_by_role("button", name="It was Cat").click()
    page.locator(".verdicts [data-verdict=other][aria-pressed=false]").wait_for()
    assert verdicts(listener) == []


def verdicts(listener: PageListener) -> list[tuple[str, str | None]]:
    with closing(sqlite3.connect(listener.folder / "sounds.db")) as history:
        query = "SELECT verdict, told_label FROM events WHERE verdict IS NOT NULL"
        return list(history.execute(query))
