"""Files that users name in settings: opened without waiting, as a pipe in their place would make
listening do, for ever."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoPlainFileError(OSError):
    """What is there is no file that can be read or written without waiting."""


def open_plain(path: Path) -> BinaryIO:
    """Opens a file for reading; links are followed. Raises NoPlainFileError for a pipe, a folder
    or a device, or another OSError."""
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    try:
        _check(descriptor, (stat.S_IFREG,))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_plain(path: str | None) -> None:
    """For what a library opens itself by its name, if there is one. Raises as `open_plain`."""
    if path is not None:
        open_plain(Path(path)).close()


def open_for_lines(path: Path) -> tuple[int, bool]:
    """(descriptor, whether the file is new) of a file that lines are appended to, readable by its
    owner alone where it is new. Devices (/dev/null) are taken as well. Raises NoPlainFileError
    for a pipe, a socket or a folder, or another OSError."""
    is_new = not os.path.exists(path)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_WAIT, 0o600)
    try:
        _check(descriptor, (stat.S_IFREG, stat.S_IFCHR))
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, is_new


def end_torn_line(descriptor: int) -> None:
    """Ends the last line of a file, as a crash leaves it. Raises OSError."""
    n_bytes = os.fstat(descriptor).st_size
    if n_bytes and os.pread(descriptor, 1, n_bytes - 1) != b"\n":
        os.write(descriptor, b"\n")


def append_line(descriptor: int, line: bytes) -> None:
    """Raises OSError; then nothing of the line is left in the file."""
    n_bytes = os.fstat(descriptor).st_size
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except OSError:
        with contextlib.suppress(OSError):  # a device has no size
            os.ftruncate(descriptor, n_bytes)
        raise


def check_for_lines(path: Path) -> None:
    """Whether `open_for_lines` would have the file, which is neither made nor changed. Raises as
    that does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | _NO_WAIT)
    except FileNotFoundError:
        check_new(path)
        return
    try:
        _check(descriptor, (stat.S_IFREG, stat.S_IFCHR))
    finally:
        os.close(descriptor)


def check_new(path: Path) -> None:
    """Whether something new can be made in the folder of a path. Raises OSError."""
    folder = path.parent
    if not stat.S_ISDIR(folder.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_folder(path: Path) -> None:
    """Whether a folder can be written, or made with those above it. Raises OSError."""
    while not path.exists() and path != path.parent:
        path = path.parent
    check_new(path / "any")


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`, not moved away or deleted."""
    return is_still(os.fstat(descriptor), path)


def is_still(status: os.stat_result, path: Path) -> bool:
    """Whether the file with that status is the one at `path`, not moved away or deleted."""
    try:
        return os.path.samestat(status, path.stat())
    except OSError:
        return False


def delete_if_empty(descriptor: int, path: Path) -> None:
    """Takes back a new file that nothing was written to. Raises OSError."""
    if is_at(descriptor, path) and os.fstat(descriptor).st_size == 0:
        path.unlink()


def reason_of(error: OSError) -> str:
    """What is wrong, for people."""
    return error.strerror or str(error)


def _check(descriptor: int, kinds: tuple[int, ...]) -> None:
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind not in kinds:
        raise NoPlainFileError(f"it is {_KINDS.get(kind, 'something else')}, not a file")
