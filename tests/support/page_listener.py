"""A run that listens with a page."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_audio.history.schema import open_to_write
from tests.support.browser import WAIT_S
from tests.support.paths import REPOSITORY
from tests.support.peers import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

_BLOCK_SAMPLES, _RATE_HZ = 1280, 16_000
COMMENT = "# what this house listens to"
ROWS = "#events [role=option]:not([hidden])"
SCROLL = """async (n) => {
    const list = document.getElementById("events");
    for (let i = 0; i < n; i++) {
        list.scrollTop += 150;
        await new Promise(requestAnimationFrame);
    }
}"""
"""Scrolls the list of events on by n frames of the screen."""

_SETTINGS = """{comment}
format = "none"

[[source]]
url = "{url}"
name = "kitchen"

[page]
port = {port}
path = "/sounds"

[history]
path = "sounds.db"

[clips]
folder = "clips"
record = true
"""


class PageListener:
    """`edge-audio listen` in a folder of its own; the page lies below /sounds/. With `with`, it
    runs."""

    def __init__(
        self,
        folder: Path,
        url: str = "-",
        password: str = "",
        environment: Mapping[str, str] | None = None,
        more: str = "",
    ) -> None:
        """url: of the source; what is fed goes to "-". more: settings."""
        self.folder, self.environment = folder, environment
        self.config = folder / "home.toml"
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}/sounds/"
        settings = _SETTINGS.format(comment=COMMENT, url=url, port=self._port)
        if password:
            command = [sys.executable, "-m", "edge_audio", "password", "--out", "password"]
            subprocess.run(command, input=f"{password}\n", text=True, cwd=folder, check=True)
            settings = settings.replace("[page]\n", '[page]\npassword_file = "password"\n')
        self.config.write_text(settings + more, encoding="utf-8")

    def __enter__(self) -> PageListener:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the page answers."""
        command = [sys.executable, "-m", "edge_audio", "listen", "--config", "home.toml"]
        environment = None if self.environment is None else dict(self.environment)
        if environment is not None:
            environment["PYTHONPATH"] = str(REPOSITORY)
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.PIPE, env=environment
        )
        end_s = time.monotonic() + WAIT_S
        while not self._answers():
            assert self.process.poll() is None, "it ended at once"
            assert time.monotonic() < end_s, "no answer"
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def feed(self, samples: NDArray[np.int16]) -> None:
        """Says the same again and again, as quickly as a microphone would."""
        threading.Thread(target=self._feed, args=(self.process, samples), daemon=True).start()

    @staticmethod
    def _feed(process: subprocess.Popen[bytes], samples: NDArray[np.int16]) -> None:
        assert process.stdin is not None
        begin_s, n_sent = time.monotonic(), 0
        while process.poll() is None:
            block = samples[np.arange(n_sent, n_sent + _BLOCK_SAMPLES) % len(samples)]
            try:
                process.stdin.write(block.tobytes())
                process.stdin.flush()
            except OSError:
                return
            n_sent += _BLOCK_SAMPLES
            time.sleep(max(0.0, begin_s + n_sent / _RATE_HZ - time.monotonic()))

    def get(self, path: str) -> Any:
        """JSON of the API, where no password is asked for."""
        with urllib.request.urlopen(f"{self.address}api/v1/{path}", timeout=WAIT_S) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        try:
            return bool(self.get("session"))
        except OSError:
            return False


def fill_history(path: Path, labels: Sequence[str], n_events: int, end_s: float) -> None:
    """Events of the week before end_s, in seconds since 1970, as if it had heard them."""
    random = np.random.default_rng(0)
    times_s = np.sort(end_s - 7 * 86_400 * random.random(n_events))
    chosen = random.integers(0, len(labels), n_events)
    rows = [
        (round(1e6 * t), 0, "garden", labels[k], 0.5 + 0.4 * (k % 2), t - times_s[0], 1.5, 0)
        for t, k in zip(times_s.tolist(), chosen.tolist(), strict=True)
    ]
    columns = "id, utc_offset_s, stream, label, score, time_s, duration_s, is_sounding"
    with closing(open_to_write(path)) as history:
        history.execute("BEGIN")
        history.executemany(f"INSERT INTO events({columns}) VALUES (?,?,?,?,?,?,?,?)", rows)  # noqa: S608
        history.execute("COMMIT")


def read_to_the_end(page: Page) -> None:
    """Until the list of events knows how many there are."""
    to_the_end = "() => { const list = document.getElementById('events'); list.scrollTop = 1e9; }"
    while page.locator(ROWS).last.get_attribute("aria-setsize") == "-1":
        page.evaluate(to_the_end)
        page.wait_for_timeout(50)
