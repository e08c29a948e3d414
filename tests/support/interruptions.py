"""Writers that are stopped at every step, by a kill and by Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

Write = Callable[[], object]
N_MAX_STEPS = 3000


class Steps:
    """Calls `stop` before the nth line that runs in one of the files."""

    def __init__(self, n: int, files: Iterable[str], stop: Callable[[], None]) -> None:
        self._n_left, self._files, self._stop = n, frozenset(files), stop

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        if event == "line":
            self._n_left -= 1
            if self._n_left == 0:
                self._stop()
        return self


def killed_at(step: int, files: Iterable[str], write: Write) -> bool:
    """Runs a writer in a process of its own, which is killed at a step. False if it ended."""
    child = os.fork()
    if child == 0:
        try:
            sys.settrace(Steps(step, files, lambda: os.kill(os.getpid(), signal.SIGKILL)))
            write()
            os._exit(0)
        finally:  # an error: no second pytest may go on from here
            os._exit(1)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert exit_code in (0, -signal.SIGKILL), "the writer failed"
    return exit_code != 0


def interrupted_at(step: int, files: Iterable[str], write: Write) -> bool:
    """The same with Ctrl-C in this process."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(Steps(step, files, interrupt))
    try:
        write()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def steps(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """(step, an empty folder of its own), until the loop is left."""
    for step in range(1, N_MAX_STEPS):
        folder = tmp_path / str(step)
        folder.mkdir()
        yield step, folder
    raise AssertionError("the writer never ended")
