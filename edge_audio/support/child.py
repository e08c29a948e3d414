"""A program that runs beside listening, and that another thread may end."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress


class Child:
    """Runs programs, one at a time, until it is stopped for good."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(
        self,
        command: Sequence[str],
        limit_s: float,
        *,
        asked: bytes = b"",
        stderr: int = subprocess.DEVNULL,
        niceness: int = 0,
    ) -> subprocess.CompletedProcess[bytes] | None:
        """What comes of it; None once this is stopped. asked: its standard input. It has a session
        of its own, which Ctrl-C does not reach. Raises subprocess.TimeoutExpired, OSError."""
        with self._lock:
            if self.is_stopped:
                return None
            process = self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        if niceness:
            with suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
        with process:
            try:
                said, _ = process.communicate(asked, limit_s)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, said)

    def stop(self) -> None:
        """Ends what is running, and runs no more."""
        with self._lock:
            self.is_stopped = True
            if self._process is not None:
                with suppress(OSError):
                    self._process.kill()
