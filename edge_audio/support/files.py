"""Files and folders that are replaced as a whole or not at all.

What is new is written beside its place under a name of its own, brought to the disk, and put into
place by one rename. An interruption at any moment, be it of the power, leaves the old or the new.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from edge_audio.errors import EdgeAudioError

_DRAFT, _ASIDE = "unfinished", "old"  # what is not complete yet; the last of a two-step exchange
_TOKEN = "[0-9a-f]{8}"  # noqa: S105 - tells writers apart
_STALE_S = 86_400.0  # after which what a killed writer left is deleted
_MAX_STEM_CHARS = 40  # of four bytes at most, so that names stay below 255
_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux
_N_ATTEMPTS = 100  # against other writers of the same folder


def replace_file(path: Path, content: bytes, mode: int | None = None) -> None:
    """Writes a file; whoever looks at it sees the old content or the new. Raises OSError.

    mode: permission bits. None = those of the file that is there, or the usual ones.
    """
    with file_draft(path, mode) as draft:
        draft.write_bytes(content)


def write_atomically(path: Path, content: bytes, mode: int | None = None) -> None:
    """`replace_file` with an error for people. Raises EdgeAudioError."""
    with errors_for_people(path):
        replace_file(path, content, mode)


@contextlib.contextmanager
def errors_for_people(path: Path) -> Iterator[None]:
    """Makes an OSError within the block an EdgeAudioError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "name a place that can be written and has room"
        raise EdgeAudioError(f"cannot write {path}: {reason}; {hint}") from error


@contextlib.contextmanager
def file_draft(path: Path, mode: int | None = None) -> Iterator[Path]:
    """An empty file beside `path` to write to. It takes the place of `path` when the block ends,
    and is deleted where the block raises. Two writers at once do not disturb each other: the last
    to end wins. mode: as in `replace_file`. Raises OSError.
    """
    if _is_device(path):
        yield path  # /dev/stdout: what takes bytes and keeps none cannot be replaced
        return
    path = _absolute(path)
    mode = _mode_of(path, stat.S_ISREG) if mode is None else mode
    draft = _beside(path, _DRAFT)
    _delete_stale_drafts(path.parent)
    try:
        # Open to nobody else while it is written, unless anybody may read it later
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(os.open(draft, flags, 0o666 if mode is None else 0o600))
        yield draft
        _sync(draft)
        if mode is not None:
            draft.chmod(mode)
        os.replace(draft, path)
        _sync_folder(path.parent)
    finally:
        _delete(draft)


@contextlib.contextmanager
def folder_draft(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill. As a whole it takes the place of `path`, be that a
    folder or a file, when the block ends; where the block raises, it is deleted. Raises OSError.

    Where the system cannot exchange two names at once, an interruption may leave nothing at
    `path`, but the old folder beside it, which `recover_folder` puts back.
    """
    path = _absolute(path)
    recover_folder(path)
    mode = _mode_of(path, stat.S_ISDIR)
    draft = _beside(path, _DRAFT)
    _delete_stale_drafts(path.parent)
    try:
        draft.mkdir()
        yield draft
        _sync_tree(draft)
        if mode is not None:
            draft.chmod(mode)
        _put_in_place(draft, path)
        _sync_folder(path.parent)
    finally:
        _delete(draft)  # by now the old folder, where there was one
    _delete_stale(_asides(path))


class IrregularFileError(OSError):
    """What should be a file is a link, a folder, a pipe or a device."""

    def __init__(self, is_link: bool) -> None:
        self.is_link = is_link
        super().__init__("it is a link" if is_link else "it is not a file")


def open_regular(path: Path) -> BinaryIO:
    """Opens a file for reading. A link, which could lead anywhere, is not followed, and a pipe,
    which could block for ever, not waited for, even if it takes the place of the file in this
    moment. Raises IrregularFileError, or another OSError."""
    before = path.lstat()
    _check_regular(before)
    flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")  # no system has them all
    try:
        descriptor = os.open(path, sum((getattr(os, flag, 0) for flag in flags), os.O_RDONLY))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise IrregularFileError(is_link=True) from None
        raise
    try:
        now = os.fstat(descriptor)
        _check_regular(now)
        if not hasattr(os, "O_NOFOLLOW") and not os.path.samestat(before, now):
            raise IrregularFileError(is_link=True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise IrregularFileError(is_link=stat.S_ISLNK(status.st_mode))


def recover_folder(path: Path) -> None:
    """Puts back what `folder_draft` had moved aside when it was interrupted. To be called before
    a folder is read; does nothing where something is at `path`. Raises nothing."""
    path = _absolute(path)
    if os.path.lexists(path):
        return
    with contextlib.suppress(OSError):  # nobody may write there, or another was faster
        asides = [(aside.lstat().st_ctime_ns, aside) for aside in _asides(path)]
        if asides:
            os.rename(max(asides)[1], path)


def _put_in_place(new: Path, path: Path) -> None:
    """Exchanges `new` for what is at `path`, which is found at `new` afterwards, if anything."""
    for _ in range(_N_ATTEMPTS):
        if os.path.lexists(path):
            with contextlib.suppress(FileNotFoundError):  # taken away in this moment
                _exchange(new, path)
                return
        try:
            os.rename(new, path)
            return
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
    raise OSError(errno.EBUSY, "others write the same folder again and again", str(path))


def _exchange(new: Path, path: Path) -> None:
    rename = _renameat2()
    if rename is not None:
        names = os.fsencode(new), os.fsencode(path)
        if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), str(path))
    _exchange_in_steps(new, path)


def _exchange_in_steps(new: Path, path: Path) -> None:
    aside = _beside(path, _ASIDE)
    try:
        os.rename(path, aside)
        _sync_folder(path.parent)
        os.rename(new, path)
    except BaseException as error:
        recover_folder(path)
        if getattr(error, "errno", None) not in _OCCUPIED:
            raise
        _delete(aside)
        raise FileNotFoundError from error  # another put one there in between: once more
    with contextlib.suppress(FileNotFoundError):  # another needed it to recover from
        os.rename(aside, new)


@cache
def _renameat2() -> Any:
    """The function of the C library, None where it has none."""
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):  # TypeError: Windows
        return None


def _is_device(path: Path) -> bool:
    """Whether there is something that is neither file nor folder, links followed."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # without "..", so that name and parent are what they say


def _mode_of(path: Path, is_kind: Any) -> int | None:
    """Permission bits of what is there, if it is of that kind."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return None
    return stat.S_IMODE(mode) if is_kind(mode) else None


def _stem(path: Path) -> str:
    name = path.name
    if len(name) > _MAX_STEM_CHARS:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()
        name = f"{name[:_MAX_STEM_CHARS]}~{digest[:16]}"
    return name


def _beside(path: Path, kind: str) -> Path:
    """A path beside it that nothing else has."""
    return path.with_name(f".{_stem(path)}.{secrets.token_hex(4)}.{kind}")


def _asides(path: Path) -> list[Path]:
    """Old folders that were moved aside from `path`."""
    pattern = re.compile(rf"\.{re.escape(_stem(path))}\.{_TOKEN}\.{_ASIDE}")
    return [path.with_name(name) for name in os.listdir(path.parent) if pattern.fullmatch(name)]


@cache  # once in a process is enough, and listing a large folder for each file would be slow
def _delete_stale_drafts(folder: Path) -> None:
    pattern = re.compile(rf"\..+\.{_TOKEN}\.{_DRAFT}")
    with contextlib.suppress(OSError):
        _delete_stale([folder / name for name in os.listdir(folder) if pattern.fullmatch(name)])


def _delete_stale(leftovers: list[Path]) -> None:
    """Deletes what writers left behind that were killed long ago."""
    for leftover in leftovers:
        with contextlib.suppress(OSError):
            if time.time() - leftover.lstat().st_ctime > _STALE_S:
                _delete(leftover)


def _delete(path: Path) -> None:
    """A file or folder, as far as it can be; leftovers are no error."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent, name))
        _sync_folder(Path(parent))


def _sync(path: Path) -> None:
    """Brings a file to the disk. Raises OSError where that fails, as on a full disk."""
    # Windows syncs only what is open for writing; elsewhere a file may be read-only by now
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    """Brings names to the disk, on systems that can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
