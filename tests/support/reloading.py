"""A running `edge-audio listen` whose settings change, and what it writes to a log."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command_line import Record, listening, records
from tests.support.peers import eventually


class Run:
    """A running `edge-audio listen` whose settings change."""

    def __init__(self, process: subprocess.Popen[str], path: Path, log: Path) -> None:
        self.process, self._path, self._log = process, path, log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def reload(self, text: str, answer: str = "settings read again") -> str:
        """New settings, and what is said of them."""
        self._path.write_text(text)
        n_before = len(self.said)
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: answer in self.said[n_before:])
        time.sleep(0.2)  # some audio by the new settings
        return self.said[n_before:]

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0, self.said
        assert "Traceback" not in self.said
        return self.said


@contextmanager
def running(folder: Path, text: str, *flags: object) -> Iterator[Run]:
    path, log = folder / "home.toml", folder / "stderr"
    path.write_text(text)
    with log.open("w") as stderr, listening("--config", path, *flags, stderr=stderr) as process:
        yield Run(process, path, log)


def json_log(path: Path, **settings: object) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(["[json]", f"path = {json.dumps(str(path))}", "top = 1", *lines, ""])


def logged(*paths: Path) -> list[Record]:
    """Whole lines so far; the last one may be on its way to the disk."""
    texts = [path.read_text().rpartition("\n")[0] for path in paths if path.exists()]
    return [record for text in texts for record in records(text)]
