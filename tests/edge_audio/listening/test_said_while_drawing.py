"""What a run has to say reaches people who look at the live view as well."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_audio.cli.live.explain import Explained, ExplainView
from tests.support.command_line import HANG_S, listening
from tests.support.live_views import LABELS, terminal
from tests.support.peers import eventually, peer_of
from tests.support.reloading import json_log, logged
from tests.support.shipped import clearest

DEMO = '[[source]]\nurl = "demo"\n'


class Terminal:
    """A terminal, and all that was written to it, without what is no text."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._raw = b""

    def shown(self) -> str:
        while select.select([self._master], [], [], 0.0)[0]:
            try:
                self._raw += os.read(self._master, 65_536)
            except OSError:  # the process has ended
                break
        text = self._raw.decode(errors="replace")
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split())

    def close(self) -> None:
        os.close(self._master)


@pytest.mark.parametrize("explained", [(), ("--explain", "Speech")])
def test_the_live_view_shows_what_came_of_a_reload_and_what_was_lost(
    tmp_path: Path, explained: tuple[str, ...]
) -> None:
    path, log, screen = tmp_path / "home.toml", tmp_path / "log.jsonl", Terminal()
    over = threading.Event()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    common = DEMO + clearest(8.0).settings + json_log(log)

    def has_started() -> bool:
        return any(record["kind"] == "start" for record in logged(log))

    def is_shown(said: str) -> Callable[[], bool]:
        return lambda: said in screen.shown()

    options = {"stdout": screen.slave, "stderr": screen.slave, "env": environment}
    with peer_of(lambda _: bool(over.wait(HANG_S)) and None) as port:
        hook = f"[webhook]\nurl = 'http://127.0.0.1:{port}/'\n"
        path.write_text(common + hook)
        with listening("--config", path, *explained, **options) as process:
            os.close(screen.slave)
            eventually(lambda: screen.shown() and has_started())
            for text, said in (
                ("[json\n", "settings stay as they were"),
                (f'model = "micro-int8"\n{common}{hook}', "restart for the new model"),
                (common, "settings read again"),
                (common, "were not delivered"),
            ):
                path.write_text(text)
                process.send_signal(signal.SIGHUP)
                eventually(is_shown(said))
            process.send_signal(signal.SIGTERM)
            eventually(lambda: screen.shown() and process.poll() is not None)
            assert process.wait(HANG_S) == 0
        over.set()
    screen.close()


def test_charts_show_what_happened_to_the_source() -> None:
    console = terminal()
    view = ExplainView(console, "toy", LABELS, Explained(LABELS[:1], 0.5))
    view.on_notice("microphone [b]lost[/]")
    view.close()
    assert "0:00.00  microphone [b]lost[/]" in console.file.getvalue()  # type: ignore[attr-defined]
