"""Runs the command line as its users do: real processes, their output and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

import pytest

from edge_audio.cli import main
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
    return _checked(done.returncode, done.stdout.decode(), done.stderr.decode(), ok)


def _checked(
    exit_code: int, stdout: str, stderr: str, ok: bool
) -> subprocess.CompletedProcess[str]:
    if ok:
        assert exit_code == 0, stderr
    return subprocess.CompletedProcess(COMMAND, exit_code, stdout, stderr)


def run_here(*arguments: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """`run` within this process, for commands that import torch and exporters: ten seconds each."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["edge-audio", *map(str, arguments)]),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        main()
    return _checked(int(end.value.code or 0), stdout.getvalue(), stderr.getvalue(), ok)


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
