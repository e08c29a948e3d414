"""What a cache was made of, so that it is not taken for something that has changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from distill.data.tars import container_of


def fingerprint(folder: Path, paths: Iterable[str]) -> str:
    """Stands for files of a folder as they are now: for where they lie, how large they are and
    when each was last written to. A path that leads into a tar stands for the whole tar, and a
    file that is missing for its absence. 32 hexadecimal digits.

    Contents are not read, because there may be terabytes of them.
    """
    found = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted({container_of(path) for path in paths}):
        found.update(f"\n{path}\0{_stamp(folder / path)}".encode())
    return found.hexdigest()[:32]


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
