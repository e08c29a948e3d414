"""Events and scores as JSON lines: on a stream of text, or in a file that is rotated."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TextIO

from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.base import MAX_TOP, Destination, Sink, TopLabels, scored
from edge_audio.sinks.level import LevelClock, MeanLevel, check_level_every_s
from edge_audio.sinks.records import event_record, notice_record, record
from edge_audio.sinks.worker import Worker
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray
from edge_audio.support.paths import expand_fields
from edge_audio.support.plain_files import (
    append_line,
    check_for_lines,
    delete_if_empty,
    end_torn_line,
    is_at,
    open_for_lines,
    reason_of,
)
from edge_audio.support.text import json_line


class JsonLinesSink(Sink):
    """One JSON object per line, flushed at once:
    {"time_s": 1.2, "stream": "mic", "kind": "start" | "end", "label": "Siren", "score": 0.83} and,
    if n_top > 0, {"time_s": 1.2, "stream": "mic", "kind": "scores", "top": [{"label": "Siren",
    "score": 0.83}, ...]} per step; of live sources also "at".
    """

    def __init__(self, out: TextIO, stream: Stream, top: TopLabels) -> None:
        self._out, self._stream, self._top = out, stream, top

    def on_event(self, event: Event) -> None:
        self._write(event_record(self._stream, event))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._top.n_top:
            top = [scored(label, score) for label, score in self._top(scores)]
            self._write(record(self._stream, time_s, kind="scores", top=top))

    def close(self) -> None:
        self._out.flush()

    def _write(self, fields: dict[str, object]) -> None:
        self._out.write(json_line(fields) + "\n")
        self._out.flush()


class JsonLinesConfig(Spec, frozen=True):
    """A file of JSON lines.

    top: how many of the highest scores to write per step. level_every_s: seconds between two
        records of level and load, 0 = none.
    max_mb: size at which the file becomes path.1 and a new one begins. keep: how many old ones.
    """

    path: str
    top: int = 0
    level_every_s: float = 10.0
    max_mb: float = 10.0
    keep: int = 7

    def __post_init__(self) -> None:
        expand_fields(self, "path")
        if not 0 <= self.top <= MAX_TOP:
            raise ValueError(f"need 0 <= top <= {MAX_TOP}")
        check_level_every_s(self.level_every_s)
        if not (0.0 < self.max_mb <= 1e6 and 1 <= self.keep <= 1000):
            raise ValueError("need 0 < max_mb <= 1e6 and 1 <= keep <= 1000")


class JsonLinesDestination(Destination[JsonLinesConfig]):
    """One file for all streams, written by a thread: what the disk refuses is counted as lost,
    and later records are written as soon as there is room."""

    def __init__(self, config: JsonLinesConfig) -> None:
        """Raises UsageError if the file cannot be opened."""
        self._config = config
        try:
            self._file = _RotatedFile(config)
        except OSError as error:
            raise UsageError(f"cannot write {config.path}: {reason_of(error)}") from error
        self._sinks: list[_FileSink] = []
        self._problem, self._n_refused_bytes = "", 0
        self._worker: Worker[dict[str, object]] = Worker("json lines", self._write)

    @staticmethod
    def check(config: JsonLinesConfig, labels: Sequence[str]) -> None:
        try:
            check_for_lines(Path(config.path))
        except OSError as error:
            raise UsageError(f"cannot write {config.path}: {reason_of(error)}") from error

    @property
    def name(self) -> str:
        return f"file {self._config.path}"

    @property
    def n_lost(self) -> int:
        """Records that were not written."""
        return self._worker.n_lost

    @property
    def problem(self) -> str:
        return self._worker.with_losses(self._problem or self._file.problem)

    def open(self, stream: Stream) -> Sink:
        self._sinks.append(_FileSink(stream, self._config, self._worker))
        return self._sinks[-1]

    def reconfigure(self, config: JsonLinesConfig, undo: ExitStack) -> Callable[[], None] | None:
        """The same file stays open, unless others have moved it away."""
        if os.path.realpath(config.path) != os.path.realpath(self._config.path):
            return None
        refresh = self.refresh(undo)
        return partial(self._use, config, refresh)

    def refresh(self, undo: ExitStack) -> Callable[[], None] | None:
        """Goes on in a new file where others have moved the old one away, or deleted it, as
        logrotate does."""
        try:
            return self._file.reopened(undo)
        except OSError as error:
            raise UsageError(f"cannot write {self._config.path}: {reason_of(error)}") from error

    def _use(self, config: JsonLinesConfig, refresh: Callable[[], None] | None) -> None:
        if refresh is not None:
            refresh()
        self._config = config
        self._file.limit(config)
        for sink in self._sinks:
            sink.use(config)

    def discard(self) -> None:
        self._file.discard()
        self.close()

    def close(self) -> None:
        if self._worker.close():
            self._file.close()

    def _write(self, fields: dict[str, object]) -> None:
        """All is well again once a line as long as any that was refused has been written: a full
        disk has room for short ones all the time."""
        line = json_line(fields).encode() + b"\n"
        try:
            self._file.write(line)
        except OSError as error:
            self._problem = f"cannot write: {reason_of(error)}"
            self._n_refused_bytes = max(self._n_refused_bytes, len(line))
            raise
        if len(line) >= self._n_refused_bytes:
            self._problem, self._n_refused_bytes = "", 0


class _FileSink(Sink):
    def __init__(
        self, stream: Stream, config: JsonLinesConfig, worker: Worker[dict[str, object]]
    ) -> None:
        self._stream, self._worker = stream, worker
        self._level_clock, self._level = LevelClock(config.level_every_s), MeanLevel()
        self.use(config)

    def use(self, config: JsonLinesConfig) -> None:
        """Goes on by other settings."""
        self._top = TopLabels(self._stream.labels, config.top)
        self._level_clock.every_s = config.level_every_s

    def on_audio(self, block: Block) -> None:
        self._level.add(block.samples)

    def on_event(self, event: Event) -> None:
        self._worker.put(event_record(self._stream, event))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._top.n_top:
            top = [scored(label, score) for label, score in self._top(scores)]
            self._worker.put(record(self._stream, time_s, kind="scores", top=top))
        if self._stream.has_audio and self._level_clock.is_due(time_s):
            self._tell_level(time_s)

    def close(self) -> None:
        if (time_s := self._level_clock.rest_s) is not None:
            self._tell_level(time_s)

    def _tell_level(self, time_s: float) -> None:
        level, load = round(self._level.take(), 1), round(self._stream.stats.load, 4)
        fields = {"kind": "level", "level_dbfs": level, "load": load}
        self._worker.put(record(self._stream, time_s, **fields))

    def on_notice(self, text: str) -> None:
        self._worker.put(notice_record(self._stream, text))


class _RotatedFile:
    """Appends whole lines. A torn last line, as a crash leaves it, is ended first.

    problem: why the file grows beyond its size, "" if all is well.
    """

    def __init__(self, config: JsonLinesConfig) -> None:
        self.problem = ""
        self._path = Path(config.path)
        self.limit(config)
        self._descriptor: int | None = None
        self._is_new = False
        self._lock = threading.Lock()  # the thread that writes also rotates
        self._open()

    def limit(self, config: JsonLinesConfig) -> None:
        """Sets other sizes, from the next line on. May be called from any thread."""
        self._max_bytes, self._keep = round(config.max_mb * 1e6), config.keep

    def write(self, line: bytes) -> None:
        """Raises OSError; then nothing of the line is left in the file."""
        with self._lock:
            n_bytes = os.fstat(self._open()).st_size
            if n_bytes and n_bytes + len(line) > self._max_bytes:
                self._rotate()
            append_line(self._open(), line)

    def reopened(self, undo: ExitStack) -> Callable[[], None] | None:
        """What goes on in the file that is at the path, where that is not the one that is open;
        None where it is. Raises OSError."""
        with self._lock:
            if self._is_in_place():
                return None
        descriptor, is_new = _open_lines(self._path)
        undo.callback(_give_back, descriptor, self._path, is_new)
        return partial(self._go_on_in, descriptor)

    def discard(self) -> None:
        """Takes back a new file that nothing was written to."""
        if self._is_new and self._descriptor is not None:
            with contextlib.suppress(OSError):
                delete_if_empty(self._descriptor, self._path)

    def _is_in_place(self) -> bool:
        return self._descriptor is None or is_at(self._descriptor, self._path)

    def _go_on_in(self, descriptor: int) -> None:
        with self._lock:
            if self._is_in_place():  # it was rotated here in between
                os.close(descriptor)
                return
            self.close()
            self._descriptor = descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor, self._is_new = _open_lines(self._path)
        return self._descriptor

    def _rotate(self) -> None:
        """Where older files cannot be moved, as in a folder of somebody else, the file grows on:
        nothing is lost for that."""
        self.close()
        path = Path(os.path.realpath(self._path))  # beside the file, not beside a link to it
        names = [path, *(path.with_name(f"{path.name}.{i + 1}") for i in range(self._keep))]
        try:
            for older, oldest in zip(names[-2::-1], names[:0:-1], strict=True):
                if older.exists():
                    older.replace(oldest)
            self._delete_beyond(path)
        except OSError as error:
            self.problem = f"cannot begin a new file, so this one grows: {reason_of(error)}"
        else:
            self.problem = ""

    def _delete_beyond(self, path: Path) -> None:
        """Files that an earlier `keep` left."""
        number = self._keep + 1
        while (older := path.with_name(f"{path.name}.{number}")).is_file():
            older.unlink()
            number += 1


def _open_lines(path: Path) -> tuple[int, bool]:
    """(descriptor, whether the file is new); a torn last line is ended. Raises OSError."""
    descriptor, is_new = open_for_lines(path)  # nobody else may read who is at home when
    end_torn_line(descriptor)
    return descriptor, is_new


def _give_back(descriptor: int, path: Path, is_new: bool) -> None:
    with contextlib.suppress(OSError):
        if is_new:
            delete_if_empty(descriptor, path)
    os.close(descriptor)
