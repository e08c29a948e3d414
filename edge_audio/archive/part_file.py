"""What has been tagged so far, kept in a file for the next run to go on from."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from edge_audio.archive.job import FileTags, Job
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.locks import Lock, LockedError
from edge_audio.support.text import encodable

PART_VERSION = 1
SYNC_S = 1.0  # how much work a power failure may cost


class Found(NamedTuple):
    """A file as the listing found it. One that cannot be looked at has 0 bytes."""

    path: str
    n_bytes: int
    mtime_ns: int


def look_at(path: Path) -> Found:
    """The file's size and modification time, by which a later run knows whether it is still the
    same."""
    try:
        status = path.stat()
    except OSError:
        return Found(str(path), 0, 0)
    return Found(str(path), status.st_size, status.st_mtime_ns)


class _Header(msgspec.Struct):
    part_version: int
    model: str
    model_sha256: str
    settings_sha256: str


class _Line(msgspec.Struct):
    n_bytes: int
    mtime_ns: int
    tags: FileTags


class PartFile:
    """What has been tagged so far, as JSON lines, for the next run to go on from if this one does
    not reach its end. One run at a time has it open.

    Raises UsageError if it cannot be opened, if another run has it, or if it was begun with
    another model or other settings; EdgeAudioError if it cannot be written.
    """

    def __init__(self, path: Path, job: Job, restart: bool = False) -> None:
        self.path = path
        self._lines: dict[str, tuple[int, int, int]] = {}  # path -> n_bytes, mtime_ns, offset
        self._is_done = False
        with contextlib.ExitStack() as stack:
            stack.callback(_locked(path).release)
            self._file = stack.enter_context(_opened(path))
            if restart:
                self._file.truncate(0)
            self._load(job)
            self._rest = stack.pop_all()

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        """Keeps the file for the next run, unless there is nothing to go on from."""
        with self._rest:
            self._file.close()  # before it is deleted: Windows deletes no open file
            if self._is_done or not self._lines:
                self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Marks the run as done: the file is deleted when the block ends."""
        self._is_done = True

    def __len__(self) -> int:
        return len(self._lines)

    def holds(self, file: Found) -> bool:
        """Whether the file has been tagged, and is still as it was then."""
        return self._lines.get(encodable(file.path), ())[:2] == (file.n_bytes, file.mtime_ns)

    def append(self, file: Found, tags: FileTags) -> None:
        offset = self._end
        self._write(_Line(file.n_bytes, file.mtime_ns, tags))
        self._lines[tags.path] = (file.n_bytes, file.mtime_ns, offset)

    def read(self, path: str) -> FileTags | None:
        """What was found in the file of this path, None if it has not been tagged."""
        line = self._lines.get(encodable(path))
        if line is None:
            return None
        with self._file_at(line[2]) as file:
            return msgspec.json.decode(file.readline(), type=_Line).tags

    @contextmanager
    def _file_at(self, offset: int) -> Iterator[BinaryIO]:
        with open(os.dup(self._file.fileno()), "rb") as file:
            file.seek(offset)
            yield file

    def _load(self, job: Job) -> None:
        wanted = _Header(PART_VERSION, job.model, job.model_sha256, job.settings_sha256)
        self._end = 0
        with self._file_at(0) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # a run that was killed, or a full disk, left it incomplete
                if self._end == 0:
                    self._check(line, wanted)
                else:
                    self._take(line, self._end)
                self._end += len(line)
        self._file.truncate(self._end)
        self._synced_s = time.monotonic()
        if self._end == 0:
            self._write(wanted)

    def _check(self, first: bytes, wanted: _Header) -> None:
        again = "give the same options as then, or --restart to begin again"
        try:
            header = msgspec.json.decode(first, type=_Header)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.path} is damaged at its start: give --restart") from error
        if header.part_version != PART_VERSION:
            raise UsageError(f"{self.path} is of another version of edge-audio: give --restart")
        if header.model_sha256 != wanted.model_sha256:
            raise UsageError(
                f"{self.path} was begun with another model ({header.model}, or an older one of "
                f"that name): {again}"
            )
        if header.settings_sha256 != wanted.settings_sha256:
            raise UsageError(
                f"{self.path} was begun with another backend, --channel, --top, or other options "
                f"that say what is reported: {again}"
            )

    def _take(self, raw: bytes, offset: int) -> None:
        """Notes where a line is. Files that failed, or whose line is damaged, are tagged again."""
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            line = msgspec.json.decode(raw, type=_Line)
            if not line.tags.error:
                self._lines[line.tags.path] = (line.n_bytes, line.mtime_ns, offset)

    def _write(self, record: msgspec.Struct) -> None:
        raw = memoryview(msgspec.json.encode(record) + b"\n")
        self._end += len(raw)
        try:
            while raw:
                raw = raw[self._file.write(raw) :]
            if time.monotonic() - self._synced_s > SYNC_S:
                os.fsync(self._file.fileno())
                self._synced_s = time.monotonic()
        except OSError as error:
            raise EdgeAudioError(
                f"cannot write {self.path}: {error.strerror}; what was tagged so far is kept in "
                "it: make room, then give the same command again"
            ) from error


def _locked(path: Path) -> Lock:
    """The right to write the part file at `path`, by a hidden file beside it."""
    try:
        return Lock(path.with_name(f".{path.name}.lock"))
    except LockedError:
        cure = "wait for it, or give another --out"
        raise UsageError(f"another run writes {path}: {cure}") from None
    except OSError as error:
        raise _cannot_write(path, error) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("a+b", buffering=0)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UsageError:
    cure = "give --out a folder that exists and can be written"
    return UsageError(f"cannot write {path}: {error.strerror}; {cure}")
