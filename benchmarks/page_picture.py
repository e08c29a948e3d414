"""Draws docs/page-live.png, page-history.png, page-notify.png, page-phone.png: the page of a run.

    python benchmarks/page_picture.py [--hours 6] [--out docs]

Nothing is staged: the shipped model hears held-out clips, which sound at random in hours of faint
noise for the history, and one after the other while the pictures are taken. Takes the extras page
and browser.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from edge_audio.events.detector import Event
from edge_audio.events.policy import PolicySpec
from edge_audio.history.store import History, Level, Start
from edge_audio.tagging.tagger import Tagger
from tests.edge_audio.sinks.notify.notify_parts import MessageServer
from tests.support.browser import Visit, keep_picture, launched
from tests.support.page_listener import ROWS, PageListener

RATE_HZ = 16_000
CLIPS_PER_HOUR = 60
LEVEL_EVERY_S = 60
N_LIVE_CLIPS = 8
NOTIFY = """
[notify]
urls = ["phone = ntfy://127.0.0.1:{port}/home", "office = ntfy://127.0.0.1:{port}/office"]
exclude = ["Animal", "Speech"]
urgent = ["Smoke detector, smoke alarm", "Baby cry, infant cry"]
recipients = {{office = ["Doorbell"]}}
quiet_hours = ["22:00-07:00", "sat-sun 07:00-09:00"]
"""
LIVE_S = 15.0  # until the live view is full


def clips(seed: int) -> Iterator[NDArray[np.float32]]:
    """Clips of fold 5, at random, without end."""
    clip_list, rng = named_clip_list(), np.random.default_rng(seed)
    held_out = [clip for clip in read_clip_list(clip_list) if clip.fold == 5]
    while True:
        clip = held_out[int(rng.integers(len(held_out)))]
        yield read_clip(clip_list.parent / clip.path, RATE_HZ)


def hour(seed: int) -> NDArray[np.float32]:
    """f32[n]: clips at random over noise at -60 dBFS, more of them in some hours."""
    rng = np.random.default_rng(seed)
    n_samples = 3600 * RATE_HZ
    samples = (1e-3 * rng.standard_normal(n_samples)).astype(np.float32)
    n_clips = round(CLIPS_PER_HOUR * rng.uniform(0.2, 1.5))
    for sound, start in zip(clips(seed), rng.integers(0, n_samples, n_clips), strict=False):
        samples[start : start + len(sound)] += 0.5 * sound[: n_samples - start]
    return np.clip(samples, -1.0, 1.0)


def remember(history: History, stream: str, samples: NDArray[np.float32], begin_s: float) -> None:
    """An hour as the model hears it, from begin_s on, in seconds since 1970."""
    tagger = Tagger.open("tiny-int8", policy=PolicySpec())
    starts: dict[str, Event] = {}
    for event in [*tagger.push(samples), *tagger.flush()]:
        if event.kind == "start":
            starts[event.label] = event
            continue
        start = starts.pop(event.label)
        event_id = round(1e6 * (begin_s + start.time_s))
        row = Start(event_id, 0, stream, event.label, event.score, start.time_s, None)
        history.end(row, event.time_s - start.time_s)
    for i, piece in enumerate(np.split(samples, 3600 // LEVEL_EVERY_S)):
        level_dbfs = 10.0 * np.log10(float(np.mean(np.square(piece))))
        time_s = float(LEVEL_EVERY_S * (i + 1))
        history.hear(Level(begin_s + time_s, 0, stream, time_s, level_dbfs))


def fill(path: Path, hours: int) -> None:
    """A history of the hours before now."""
    with closing(History(path)) as history:
        for i in range(hours):
            begin_s = time.time() - 3600.0 * (hours - i)
            remember(history, ("kitchen", "garden")[i % 2], hour(i), begin_s)


def open_page(
    browser: Browser, address: str, width: int, height: int, scheme: Literal["dark", "light"]
) -> Page:
    size = {"width": width, "height": height}
    page = Visit(browser, address, viewport=size, color_scheme=scheme).page
    page.locator("#connection", has_text="Connected").wait_for()
    return page


def keep(page: Page, path: Path) -> None:
    keep_picture(page, path)
    page.context.close()


def take(browser: Browser, address: str, out: Path) -> None:
    """All pictures of a page, which sounds meanwhile."""
    page = open_page(browser, address, 1200, 800, "dark")
    page.wait_for_timeout(1000.0 * LIVE_S)
    page.locator("#recent .event.open").first.wait_for()
    keep(page, out / "page-live.png")
    page = open_page(browser, f"{address}#history", 1200, 1200, "light")
    heard = page.locator(ROWS, has=page.locator(".has-clip:not(.absent)"))
    heard.first.click()
    page.locator(".clip[data-duration-s]").wait_for()
    page.evaluate("() => window.scrollTo(0, 0)")
    keep(page, out / "page-history.png")
    page = open_page(browser, f"{address}#notifications", 1200, 800, "light")
    page.locator(".told-row").first.wait_for()
    page.get_by_role("button", name="Send a test to phone").click()
    page.get_by_text("the test was taken", exact=True).wait_for()
    keep(page, out / "page-notify.png")
    page = open_page(browser, f"{address}#labels", 360, 720, "dark")
    page.locator(".label-row:not([hidden])").first.wait_for()
    keep(page, out / "page-phone.png")


@click.command()
@click.option("--hours", type=click.IntRange(1, 12), default=6, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="docs", show_default=True)
def main(hours: int, out: Path) -> None:
    """Writes the pictures."""
    live = np.concatenate([sound for sound, _ in zip(clips(5), range(N_LIVE_CLIPS), strict=False)])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fill(folder / "sounds.db", hours)
        server = stack.enter_context(closing(MessageServer()))
        settings = NOTIFY.format(port=server.port)
        listener = stack.enter_context(PageListener(folder, more=settings))
        browser = stack.enter_context(launched(stack.enter_context(sync_playwright())))
        listener.feed((32_767 * np.clip(live, -1.0, 1.0)).astype(np.int16))
        take(browser, listener.address, out)


if __name__ == "__main__":
    main()
