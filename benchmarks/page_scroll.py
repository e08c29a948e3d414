"""What a frame of the page costs while ten thousand events are scrolled through.

    python benchmarks/page_scroll.py [--events 10000] [--rounds 5]

CPU time of the page's own thread in Chromium, for a frame in which the list moves on by 150 pixels;
at 60 frames a second there are 16.7 ms. Others that use the machine cost it caches, so the least of
some rounds is what counts. Nothing comes meanwhile. Takes the extras page and browser.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from playwright.sync_api import Page, sync_playwright
from rich.console import Console

from tests.support.browser import Visit, launched
from tests.support.page_listener import ROWS, SCROLL, PageListener, fill_history, read_to_the_end

LABELS = ("Speech", "Music", "Bird", "Cat", "Doorbell")
N_FRAMES = 60


@contextmanager
def thread_time(page: Page) -> Iterator[list[float]]:
    """CPU seconds that the page's own thread takes, in a list that is filled at the end."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def taken_s() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(x["value"] for x in metrics if x["name"] == "ThreadTime"))

    before_s, taken = taken_s(), list[float]()
    yield taken
    taken.append(taken_s() - before_s)


def frames_ms(page: Page, n_rounds: int) -> list[float]:
    """Of each round, for a frame."""
    page.locator(ROWS).first.wait_for()
    page.get_by_role("button", name="Month").click()
    read_to_the_end(page)
    page.evaluate("() => { document.getElementById('events').scrollTop = 0; }")
    taken_ms = []
    for _ in range(n_rounds):
        with thread_time(page) as taken_s:
            page.evaluate(SCROLL, N_FRAMES)
        taken_ms.append(1000.0 * taken_s[0] / N_FRAMES)
    return taken_ms


@click.command()
@click.option("--events", "n_events", default=10_000, show_default=True)
@click.option("--rounds", "n_rounds", default=5, show_default=True)
def main(n_events: int, n_rounds: int) -> None:
    """Prints one line."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        fill_history(Path(folder, "sounds.db"), LABELS, n_events, time.time() - 3600.0)
        with PageListener(Path(folder), url="demo") as listener, launched(playwright) as browser:
            visit = Visit(browser, f"{listener.address}#history", barred="**/live")
            taken_ms = frames_ms(visit.page, n_rounds)
    rounds = ", ".join(f"{each:.1f}" for each in sorted(taken_ms))
    Console().print(f"{n_events} events: {min(taken_ms):.1f} ms of CPU for a frame ({rounds})")


if __name__ == "__main__":
    main()
