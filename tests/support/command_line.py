"""Runs the command line as its users do: real processes, their output and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.support import toy

COMMAND = [sys.executable, "-m", "edge_audio"]
HANG_S = 120  # reached only by what never ends
SAMPLES = toy.noise(80_000)  # 5 s at 16 kHz
Record = dict[str, Any]


def run(
    *arguments: object, stdin: bytes = b"", ok: bool = True, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs edge-audio to its end; `ok` expects exit code 0. env: variables beside those that are
    set."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=HANG_S,
        check=False,
        env={**os.environ, **(env or {})},
    )
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    if ok:
        assert done.returncode == 0, stderr
    return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)


def error_line(done: subprocess.CompletedProcess[str], exit_code: int) -> str:
    """The one line on stderr of a command that must have failed in order."""
    assert done.returncode == exit_code, done.stderr
    assert re.fullmatch(r"edge-audio: error: [^\n]+\n", done.stderr)
    return done.stderr


def records(text: str) -> list[Record]:
    return [json.loads(line) for line in text.splitlines()]


def reports(text: str) -> list[Record]:
    """Records without the stream that they are of and the time of day: what was heard, and when."""
    return [{k: v for k, v in x.items() if k not in ("stream", "at")} for x in records(text)]


@contextmanager
def listening(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A running `edge-audio listen` with pipes; it is killed if it outlives the test."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    process = subprocess.Popen([*COMMAND, "listen", *map(str, arguments)], **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
