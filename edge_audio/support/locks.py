"""Locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


class LockedError(Exception):
    """Another process, or another object of this one, holds the lock."""


class Lock:
    """A file that one process at a time holds, until `release` or its end, however that comes.

    Raises LockedError if another one, or another object of this process, holds it and still does
    after wait_s; OSError where the file cannot be made.
    """

    def __init__(self, path: Path, wait_s: float = 0.0) -> None:
        from filelock import FileLock, Timeout  # which listening does not wait for

        self._path = path
        if not path.parent.is_dir():  # which filelock would make
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        self._lock = FileLock(path, timeout=wait_s, mode=0o600, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise LockedError(f"{path} is locked") from None

    def release(self) -> None:
        """Lets others have it, and leaves no file."""
        with contextlib.suppress(OSError):  # Windows deletes no open file, filelock does there
            self._path.unlink()  # while it is held: who opened it in vain looks for a new one
        self._lock.release()
