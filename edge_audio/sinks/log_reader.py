"""Reads the JSON lines that `edge-audio listen` writes, line by line, whatever befell the files."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from edge_audio.errors import UsageError
from edge_audio.support.slugs import digest_of
from edge_audio.support.text import MAX_NAME_CHARS

MAX_LINE_BYTES = 1 << 20
N_LINES_TO_DATE = 1000  # read to find out when a file begins
GZIP_MAGIC = b"\x1f\x8b"
YEARS = range(1970, 2200)  # others are damage: not even a clock that was never set has them
_ROTATED = re.compile(r"\.(\d{1,4})(?:\.gz)?$")


def short_name(name: str) -> str:
    """The name of a stream, which may be that of a file or an address, as long as names may be: of
    a long one its beginning, and a part of its hash."""
    if len(name) <= MAX_NAME_CHARS:
        return name
    return f"{name[: MAX_NAME_CHARS - 7]}-{digest_of(name)}"


class LogRecord(msgspec.Struct, frozen=True):
    """One line; which fields mean something depends on `kind`.

    time_s: seconds of audio since the start of the run. at: the same as time of day, None for
        recordings. kind: start, end, scores, level, notice, or what later versions add. correct:
        what somebody says of an event, for `edge-audio tune`. run: another number in each hearing
        of a recording, where that is known.
    """

    time_s: float
    kind: str
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    stream: str = ""
    label: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""
    score: float = 0.0
    level_dbfs: float | None = None
    text: str = ""
    correct: bool | None = None
    run: float = 0.0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "stream", short_name(self.stream))
        if self.kind in ("start", "end") and not self.label:
            raise ValueError("an event needs a label")
        if self.kind == "level" and self.level_dbfs is None:
            raise ValueError("a level needs level_dbfs")
        if self.at is not None and self.at.year not in YEARS:
            raise ValueError("this is no time of day")


class SessionLog:
    """The records of one log: its file, and the older ones that it was rotated into.

    n_records, n_bad: lines read so far, and lines so far that are no records. problems: one line
    for each file that could not be read to its end.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """paths: in any order, also pipes; what gzip packed is unpacked. Raises UsageError for
        one that cannot be opened."""
        self.n_records = self.n_bad = 0
        self.problems: list[str] = []
        self._decoder = msgspec.json.Decoder(LogRecord)
        self._files = sorted(map(_LogFile, dict.fromkeys(paths)), key=self._age)

    def __iter__(self) -> Iterator[LogRecord]:
        """Oldest file first, in the order of its lines; the memory in use does not grow. A pipe
        gives its lines once."""
        self.n_records = self.n_bad = 0
        self.problems = []
        for file in self._files:
            for line in self._as_far_as_readable(file.path, file.lines()):
                record = self._decoded(line)
                if record is not None:
                    self.n_records += 1
                    yield record
                elif line.strip():
                    self.n_bad += 1

    def check(self) -> None:
        """To be called when all has been read. Raises UsageError if there were lines, and none of
        them a record."""
        if self.n_bad and not self.n_records:
            names = ", ".join(str(file.path) for file in self._files[:3])
            raise UsageError(
                f"{names} has no record of edge-audio listen --json or --format jsonl: it is no log"
            )

    def _age(self, file: _LogFile) -> tuple[int, float]:
        """Sorts oldest first: by the number that rotation gave, then by the first time of day."""
        match = _ROTATED.search(file.path.name)
        lines = self._as_far_as_readable(file.path, file.first_lines())
        records = (self._decoded(line) for line in lines)
        dates = (record.at.timestamp() for record in records if record and record.at)
        return -int(match[1]) if match else 0, next(dates, 0.0)

    def _decoded(self, line: bytes) -> LogRecord | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _as_far_as_readable(self, path: Path, lines: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from lines
        except (OSError, EOFError, zlib.error) as error:
            self.problems.append(f"{path} breaks off: {error}")


class _LogFile:
    """One file of a log, or a pipe, which can be read once: the lines that were read to find out
    when it begins are kept for the reading. "-" is standard input."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError for what cannot be opened."""
        self.path = path
        self._pipe: Iterator[bytes] | None = None
        self._head: list[bytes] = []
        file = _opened(path)
        if file.seekable() and str(path) != "-":
            file.close()
        else:
            self._pipe = _lines(file)

    def first_lines(self) -> Iterator[bytes]:
        """Lines at the beginning, for a look. Raises as `lines`."""
        if self._pipe is None:
            yield from islice(self.lines(), N_LINES_TO_DATE)
            return
        self._head += islice(self._pipe, N_LINES_TO_DATE - len(self._head))
        yield from self._head

    def lines(self) -> Iterator[bytes]:
        """Lines of the file; of one that is too long a piece, which is no record. Raises OSError,
        EOFError or zlib.error where it breaks off."""
        if self._pipe is None:
            yield from _lines(_opened(self.path))
            return
        head, self._head = self._head, []
        yield from head
        yield from self._pipe


def _lines(file: BinaryIO) -> Iterator[bytes]:
    with file, _unpacked(file) as stream:
        while line := stream.readline(MAX_LINE_BYTES):
            yield line
            while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE_BYTES)


def _opened(path: Path) -> io.BufferedReader:
    """Raises UsageError for what cannot be opened."""
    try:
        return open(0, "rb", closefd=False) if str(path) == "-" else path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from error


def _unpacked(file: BinaryIO) -> gzip.GzipFile | nullcontext[BinaryIO]:
    """The content of a file that gzip packed, whatever it is called."""
    if isinstance(file, io.BufferedReader) and file.peek(2)[:2] == GZIP_MAGIC:
        return gzip.GzipFile(fileobj=file)
    return nullcontext(file)
