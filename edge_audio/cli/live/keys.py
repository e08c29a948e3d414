"""Keys that are pressed while something is drawn into the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import threading
from collections import deque
from typing import Any

try:
    import termios
    import tty
except ImportError:  # a system without terminals of that kind: there are no keys then
    termios = tty = None  # type: ignore[assignment]

_WAIT_S = 0.2
_KEY = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?|.", re.DOTALL)  # a sequence is one key
_NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down", " ": "p"}


class Keys:
    """Reads keys of the terminal on standard input, which echoes none of them meanwhile. `q` ends
    the run as Ctrl-C does, whatever it waits for; the others wait for `take`.

    is_open: whether there is such a terminal, and it belongs to this process.
    """

    def __init__(self) -> None:
        self._taken: deque[str] = deque(maxlen=100)
        self._stopped = threading.Event()
        self._before: list[Any] | None = None
        self._thread: threading.Thread | None = None
        if termios is not None and _is_ours():
            self._fd = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
            self._thread = threading.Thread(target=self._read, name="keys", daemon=True)
            self._thread.start()

    @property
    def is_open(self) -> bool:
        return self._before is not None

    def take(self) -> list[str]:
        """Keys since the last call: characters, `up` and `down`."""
        return [self._taken.popleft() for _ in range(len(self._taken))]

    def close(self) -> None:
        """Gives the terminal back; what nobody took is forgotten."""
        if self._before is None or self._thread is None:
            return
        self._stopped.set()
        self._thread.join()
        with contextlib.suppress(OSError, termios.error):  # the terminal may be gone
            termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._before)
        self._before = None

    def _read(self) -> None:
        while not self._stopped.is_set():
            try:
                if not select.select([self._fd], [], [], _WAIT_S)[0]:
                    continue
                raw = os.read(self._fd, 64)
            except OSError:
                return
            if not raw:
                return
            for key in keys_of(raw.decode(errors="replace")):
                if key == "q":
                    os.kill(os.getpid(), signal.SIGINT)
                self._taken.append(key)


def keys_of(text: str) -> list[str]:
    """Keys in what a terminal sent. Those that are no character, and unknown, are none."""
    found = [_NAMES.get(key, key) for key in _KEY.findall(text)]
    return [key.lower() for key in found if not key.startswith("\x1b")]


def _is_ours() -> bool:
    """Whether standard input is a terminal, and this process not in its background, where it would
    be stopped for changing it."""
    try:
        fd = sys.stdin.fileno()
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # closed, replaced, or not the terminal's own
        return False
