"""Reads the JSON lines that `edge-audio listen` writes, line by line, whatever befell the files."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec

from edge_audio.errors import UsageError
from edge_audio.support.text import MAX_NAME_CHARS

MAX_LINE_BYTES = 1 << 20
N_LINES_TO_DATE = 1000  # read to find out when a file begins
YEARS = range(1970, 2200)  # others are damage: not even a clock that was never set has them
_ROTATED = re.compile(r"\.(\d{1,4})(?:\.gz)?$")


class LogRecord(msgspec.Struct, frozen=True):
    """One line; which fields mean something depends on `kind`.

    time_s: seconds of audio since the start of the run. at: the same as time of day, None for
        recordings. kind: start, end, scores, level, notice, or what later versions add. correct:
        what somebody says of an event, for `edge-audio tune`.
    """

    time_s: float
    kind: str
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    stream: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""
    label: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""
    score: float = 0.0
    level_dbfs: float | None = None
    text: str = ""
    correct: bool | None = None

    def __post_init__(self) -> None:
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
        """paths: in any order; those that end in .gz are unpacked. Raises UsageError for a file
        that cannot be opened."""
        self.n_records = self.n_bad = 0
        self.problems: list[str] = []
        self._decoder = msgspec.json.Decoder(LogRecord)
        self._paths = sorted(dict.fromkeys(paths), key=self._age)

    def __iter__(self) -> Iterator[LogRecord]:
        """Oldest file first, in the order of its lines; the memory in use does not grow."""
        self.n_records = self.n_bad = 0
        self.problems = []
        for path in self._paths:
            for line in self._lines(path):
                record = self._decoded(line)
                if record is not None:
                    self.n_records += 1
                    yield record
                elif line.strip():
                    self.n_bad += 1

    def _age(self, path: Path) -> tuple[int, float]:
        """Sorts oldest first: by the number that rotation gave, then by the first time of day."""
        match = _ROTATED.search(path.name)
        with closing(self._lines(path)) as lines:
            records = (self._decoded(line) for line in islice(lines, N_LINES_TO_DATE))
            dates = (record.at.timestamp() for record in records if record and record.at)
            return -int(match[1]) if match else 0, next(dates, 0.0)

    def _decoded(self, line: bytes) -> LogRecord | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _lines(self, path: Path) -> Generator[bytes, None, None]:
        """Lines of a file; of one that is too long a piece, which is no record."""
        try:
            with _opened(path) as file:
                while line := file.readline(MAX_LINE_BYTES):
                    yield line
                    while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                        line = file.readline(MAX_LINE_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            self.problems.append(f"{path} breaks off: {error}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Raises UsageError for what cannot be opened."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    with file:
        if path.suffix == ".gz":
            with gzip.open(file) as unpacked:  # which leaves the file itself open
                yield unpacked
        else:
            yield file
