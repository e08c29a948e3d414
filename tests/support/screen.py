"""A terminal that a process draws into, emulated: what a person would see in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pyte

from tests.support.command_line import COMMAND, HANG_S

_AS_FOREGROUND = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class EmulatedTerminal:
    """`edge-audio ARGUMENTS` in a terminal of its own. Sizes in characters."""

    def __init__(self, *arguments: object, width: int = 80, height: int = 24) -> None:
        self._screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self._screen)
        self._raw = b""
        self._master, slave = pty.openpty()
        self._size(width, height)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(  # which reads keys as the foreground of its terminal
            [sys.executable, "-c", _AS_FOREGROUND, *COMMAND, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> EmulatedTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def raw(self) -> bytes:
        """All that was written."""
        return self._raw

    @property
    def lines(self) -> list[str]:
        """What stands there."""
        return list(self._screen.display)

    def resize(self, width: int, height: int) -> None:
        self._size(width, height)
        self._screen.resize(height, width)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> None:
        """Takes what is written in this time."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            if select.select([self._master], [], [], left_s)[0]:
                try:
                    part = os.read(self._master, 65_536)
                except OSError:  # the process has ended
                    return
                self._raw += part
                with contextlib.suppress(Exception):  # sequences that pyte does not know
                    self._stream.feed(part)

    def wait_for(self, is_there: Callable[[list[str]], bool]) -> list[str]:
        """Reads until the lines are as wanted, and returns them."""
        deadline_s = time.monotonic() + HANG_S
        while not is_there(self.lines):
            assert time.monotonic() < deadline_s, "\n".join(self.lines)
            self.read(0.1)
        return self.lines

    def _size(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
