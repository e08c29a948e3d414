"""Tagging of many recordings: worker processes, a part file to go on from, tables at the end."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import msgspec
import numpy as np

from edge_audio.backends import backends_for, open_backend
from edge_audio.bundle import Bundle, load_bundle, shipped_bundles
from edge_audio.errors import BundleError, EdgeAudioError, UsageError
from edge_audio.sinks import Segment, SegmentSink, TopLabels, scored
from edge_audio.sources import AudioFile
from edge_audio.spec import EventSpec, Spec
from edge_audio.tagger import Tagger

PART_VERSION = 1
SYNC_S = 1.0  # how much work a power failure may cost
ROWS_PER_GROUP = 65_536
_BLOCK_MS = 5000.0

Heard = Callable[[float], None]  # is told how many more seconds of audio have been heard


class FileTags(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds.

    top: labels with the highest score that each reached in any step.
    error: why it could not be read; "" if it could.
    """

    path: str
    duration_s: float = 0.0
    top: list[tuple[str, float]] = []
    segments: list[Segment] = []
    error: str = ""


class Job(Spec, frozen=True):
    """All that a worker needs to know, and all that results depend on beside the recording.

    model: a shipped name or an absolute folder. backend: "auto" only where none is installed.
    ranked: the labels that `top` chooses from.
    """

    model: str
    model_sha256: str
    backend: str
    events: EventSpec
    n_top: int
    ranked: tuple[str, ...]

    @property
    def settings_sha256(self) -> str:
        """Changes with all but the model."""
        settings = msgspec.structs.replace(self, model="", model_sha256="")
        return hashlib.sha256(msgspec.msgpack.encode(settings)).hexdigest()

    def open(self) -> Tagger:
        """Raises BundleError where the model is another than that of whoever wrote the job."""
        bundle = load_bundle(self.model)
        if model_sha256(bundle) != self.model_sha256:
            raise BundleError(
                f"model {self.model} of this worker differs from that of the run: install the "
                "same edge-audio on all machines, or put the bundle on a disk that all share"
            )
        return Tagger(bundle, open_backend(bundle, self.backend), self.events)


def make_job(model: str, backend: str, events: EventSpec, n_top: int, ranked: Iterable[str]) -> Job:
    """model, backend: as the user named them. Raises BundleError or UsageError."""
    bundle = load_bundle(model)
    if backend == "auto":
        backend = next(iter(backends_for(bundle)), "auto")
    return Job(
        model=model if model in shipped_bundles() else os.path.abspath(model),
        model_sha256=model_sha256(bundle),
        backend=backend,
        events=events,
        n_top=n_top,
        ranked=tuple(ranked),
    )


def model_sha256(bundle: Bundle) -> str:
    """Of the manifest, which has the hash of every other file."""
    return hashlib.sha256(msgspec.json.encode(bundle.manifest)).hexdigest()


_opened = threading.local()  # a tagger follows one stream: each thread has its own


def tag_file(job: bytes, path: str, heard: Heard | None = None) -> FileTags:
    """Hears one file from start to end; a file that cannot be read is a result with an error.

    job: an encoded `Job`; the thread keeps its model for the next file.
    Raises BundleError, BackendError or UsageError if the model cannot be opened.
    """
    if getattr(_opened, "job", None) != job:
        decoded = msgspec.msgpack.decode(job, type=Job)
        tagger = decoded.open()
        top = TopLabels(tagger.labels, decoded.n_top, frozenset(decoded.ranked))
        _opened.job, _opened.tagger, _opened.top = job, tagger, top
    try:
        return _tag(path, _opened.tagger, _opened.top, heard)
    except (EdgeAudioError, OSError) as error:
        return FileTags(path=printable(path), error=printable(str(error)))
    except UnicodeEncodeError:  # by soundfile
        problem = "its name is not UTF-8: rename it"
        return FileTags(path=printable(path), error=f"{printable(path)}: {problem}")


def _tag(path: str, tagger: Tagger, top: TopLabels, heard: Heard | None) -> FileTags:
    tagger.reset()
    highest = np.zeros(len(tagger.labels), np.float32)
    sink = SegmentSink()
    with AudioFile(path, tagger.sample_rate_hz, _BLOCK_MS) as source:
        for block in source.blocks():
            for _, scores, events in tagger.stream(block.samples):
                np.maximum(highest, scores, out=highest)
                for event in events:
                    sink.on_event(event)
            if heard:
                heard(len(block.samples) / tagger.sample_rate_hz)
    for event in tagger.flush():
        sink.on_event(event)
    np.maximum(highest, tagger.scores, out=highest)  # a last step that flush completed
    return FileTags(
        path=printable(path),
        duration_s=tagger.time_s,
        top=top(highest),
        segments=sink.segments,
    )


def printable(text: str) -> str:
    """File names may hold bytes that are not UTF-8; they become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


Tagged = tuple[str, FileTags]  # with the path as it was handed in


def finished(
    submit: Callable[[str], Future[FileTags]],
    paths: Iterator[str],
    n_in_flight: int,
    pending: dict[Future[FileTags], str],
) -> Iterator[tuple[str, Future[FileTags]]]:
    """Keeps n_in_flight files submitted, and yields each as soon as it is done.

    pending: what has been submitted and not yet yielded, for the caller to see.
    """
    while True:
        for path in islice(paths, n_in_flight - len(pending)):
            pending[submit(path)] = path
        if not pending:
            return
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            yield pending.pop(future), future


def tag_in_processes(job: Job, paths: Iterable[str], n_jobs: int) -> Iterator[Tagged]:
    """Tags files in n_jobs processes, in the order in which they are done.

    When a worker dies, whatever was in flight is tagged once more, each file alone, so that the
    one which kills its worker is found and becomes a result with an error.
    """
    encoded, remaining = msgspec.msgpack.encode(job), iter(paths)
    while suspects := (yield from _until_crash(encoded, remaining, n_jobs)):
        for path in suspects:
            if (yield from _until_crash(encoded, iter([path]), n_jobs=1)):
                problem = "its worker died twice: out of memory, or a decoder that crashes on it"
                yield path, FileTags(path=printable(path), error=f"{printable(path)}: {problem}")


def _until_crash(
    job: bytes, paths: Iterator[str], n_jobs: int
) -> Generator[Tagged, None, list[str]]:
    """Returns the files that were in flight when a worker died; none if all are done."""
    pending: dict[Future[FileTags], str] = {}
    with _pool(n_jobs) as pool:
        for path, future in finished(partial(_submit, pool, job), paths, 2 * n_jobs, pending):
            try:
                tags = future.result()
            except BrokenProcessPool:
                return [path, *pending.values()]
            yield path, tags
    return []


def _submit(pool: ProcessPoolExecutor, job: bytes, path: str) -> Future[FileTags]:
    try:
        return pool.submit(tag_file, job, path)
    except BrokenProcessPool as error:
        future: Future[FileTags] = Future()
        future.set_exception(error)
        return future


@contextmanager
def _pool(n_jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which are killed if the block is left early."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_jobs, context, _start_worker)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def in_order(paths: Iterable[str], results: Iterable[Tagged]) -> Iterator[FileTags]:
    """Results in the order of the paths, each as soon as those before it are there."""
    results, found = iter(results), {}
    for path in paths:
        while path not in found:
            done, tags = next(results)
            found[done] = tags
        yield found[path]


class Found(NamedTuple):
    """A file as the listing found it. One that cannot be looked at has 0 bytes."""

    path: str
    n_bytes: int
    mtime_ns: int


def look_at(path: Path) -> Found:
    """Size and time of change: by them a later run knows whether a file is still the same."""
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
        try:
            self._file: BinaryIO = path.open("a+b", buffering=0)
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}; give --out a folder that exists and "
                "can be written"
            ) from error
        try:
            self._lock()
            if restart:
                self._file.truncate(0)
            self._load(job)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._lines and not self._is_gone():
            self.path.unlink()
        self._file.close()

    def __len__(self) -> int:
        return len(self._lines)

    def holds(self, file: Found) -> bool:
        """Whether the file has been tagged, and is still as it was then."""
        return self._lines.get(printable(file.path), ())[:2] == (file.n_bytes, file.mtime_ns)

    def append(self, file: Found, tags: FileTags) -> None:
        offset = self._end
        self._write(_Line(file.n_bytes, file.mtime_ns, tags))
        self._lines[tags.path] = (file.n_bytes, file.mtime_ns, offset)

    def read(self, path: str) -> FileTags | None:
        """What was found in the file of this path, None if it has not been tagged."""
        line = self._lines.get(printable(path))
        if line is None:
            return None
        with self._file_at(line[2]) as file:
            return msgspec.json.decode(file.readline(), type=_Line).tags

    @contextmanager
    def _file_at(self, offset: int) -> Iterator[BinaryIO]:
        with open(os.dup(self._file.fileno()), "rb") as file:
            file.seek(offset)
            yield file

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_taken = self._is_gone()  # another run finished in this moment
        except BlockingIOError:
            is_taken = True
        if is_taken:
            raise UsageError(f"another run writes {self.path}: wait for it, or give another --out")

    def _is_gone(self) -> bool:
        return os.fstat(self._file.fileno()).st_nlink == 0

    def _load(self, job: Job) -> None:
        wanted = _Header(PART_VERSION, job.model, job.model_sha256, job.settings_sha256)
        self._cut_last_line()
        with self._file_at(0) as file:
            first = file.readline()
            if first:
                self._check(first, wanted)
            offset = len(first)
            for line in file:
                self._take(line, offset)
                offset += len(line)
        self._end = offset
        self._synced_s = time.monotonic()
        if not first:
            self._write(wanted)

    def _cut_last_line(self) -> None:
        """A run that was killed, or a full disk, may have left the last line incomplete."""
        end = 0
        with self._file_at(0) as file:
            for line in file:
                end += len(line) if line.endswith(b"\n") else 0
        self._file.truncate(end)

    def _check(self, first: bytes, wanted: _Header) -> None:
        again = "give the same options as then, or --restart to begin again"
        try:
            header = msgspec.json.decode(first, type=_Header)
        except msgspec.DecodeError as error:
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
                f"{self.path} was begun with another backend, --top, --only, --exclude or "
                f"--threshold: {again}"
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


class Table(Protocol):
    """Writes what was found in one file after the other."""

    def write(self, tags: FileTags) -> None: ...

    def close(self) -> None: ...


def rounded(segment: Segment) -> dict[str, object]:
    """A segment's fields in their order, numbers at the precision that means something."""
    return {
        "start_s": round(segment.start_s, 3),
        "end_s": round(segment.end_s, 3),
        "label": segment.label,
        "score": round(segment.score, 4),
    }


def file_record(tags: FileTags) -> dict[str, object]:
    """The JSON form: path, duration_s, top, events; path and error of a file that failed."""
    if tags.error:
        return {"path": tags.path, "error": tags.error}
    return {
        "path": tags.path,
        "duration_s": round(tags.duration_s, 3),
        "top": [scored(label, score) for label, score in tags.top],
        "events": [rounded(segment) for segment in tags.segments],
    }


def _file_row(tags: FileTags) -> dict[str, Any]:
    return {
        "path": tags.path,
        "duration_s": None if tags.error else round(tags.duration_s, 3),
        "n_events": None if tags.error else len(tags.segments),
        "top": [scored(label, score) for label, score in tags.top],
        "error": tags.error or None,
    }


class JsonLinesTable:
    """One object per file, see `file_record`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        (path,) = paths
        self._file = path.open("w", encoding="utf-8")

    def write(self, tags: FileTags) -> None:
        self._file.write(json.dumps(file_record(tags), ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


class CsvTable:
    """Events in one file, recordings in another, where `top` is JSON."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = [path.open("w", encoding="utf-8", newline="") for path in paths]
        self._events, self._recordings = (csv.writer(f, lineterminator="\n") for f in self._files)
        self._events.writerow(["path", "start_s", "end_s", "label", "score"])
        self._recordings.writerow(["path", "duration_s", "n_events", "top", "error"])

    def write(self, tags: FileTags) -> None:
        self._events.writerows([tags.path, *rounded(s).values()] for s in tags.segments)
        row = _file_row(tags)
        row["top"] = json.dumps(row["top"], ensure_ascii=False)
        self._recordings.writerow(row.values())

    def close(self) -> None:
        for file in self._files:
            file.close()


class ParquetTable:
    """The same two tables as Parquet, written in groups of rows."""

    def __init__(self, paths: Iterable[Path]) -> None:
        pa = _pyarrow()
        from pyarrow import parquet  # type: ignore[import-untyped]

        label = [("label", pa.string()), ("score", pa.float64())]
        seconds = [("start_s", pa.float64()), ("end_s", pa.float64())]
        recording = [
            ("path", pa.string()),
            ("duration_s", pa.float64()),
            ("n_events", pa.int32()),
            ("top", pa.list_(pa.struct(label))),
            ("error", pa.string()),
        ]
        schemas = [pa.schema([("path", pa.string()), *seconds, *label]), pa.schema(recording)]
        self._writers = [
            parquet.ParquetWriter(path, schema, compression="zstd")
            for path, schema in zip(paths, schemas, strict=True)
        ]
        self._rows: list[list[dict[str, Any]]] = [[], []]

    def write(self, tags: FileTags) -> None:
        events, recordings = self._rows
        events += [{"path": tags.path, **rounded(segment)} for segment in tags.segments]
        recordings.append(_file_row(tags))
        if max(map(len, self._rows)) >= ROWS_PER_GROUP:
            self._write_rows()

    def close(self) -> None:
        self._write_rows()
        for writer in self._writers:
            writer.close()

    def _write_rows(self) -> None:
        for writer, rows in zip(self._writers, self._rows, strict=True):
            writer.write_table(_pyarrow().Table.from_pylist(rows, schema=writer.schema))
            rows.clear()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise UsageError(
            "Parquet needs the pyarrow package: pip install 'edge-audio[archive]'"
        ) from error
    return pyarrow


TABLES: Mapping[str, Callable[[Iterable[Path]], Table]] = {
    ".parquet": ParquetTable,
    ".csv": CsvTable,
    ".jsonl": JsonLinesTable,
}


def table_paths(out: Path) -> list[Path]:
    """What a run writes: OUT, and beside it the table of recordings unless OUT has them as well.
    Raises UsageError for an unknown suffix."""
    if out.suffix not in TABLES:
        raise UsageError(f"--out {out}: its name must end in {', '.join(TABLES)}")
    if out.suffix == ".jsonl":
        return [out]
    return [out, out.with_name(f"{out.stem}-files{out.suffix}")]


class Archive:
    """A run that writes OUT, by way of `OUT.part`. To be closed by `with`.

    files: what to tag; a path that comes twice is tagged once.
    Raises what `PartFile` does, and UsageError if OUT is there and no run is to be gone on with.
    """

    def __init__(self, out: Path, job: Job, files: Iterable[Found], restart: bool = False) -> None:
        self._out, self._paths = out, table_paths(out)
        if out.suffix == ".parquet":
            _pyarrow()
        part = out.with_name(f"{out.name}.part")
        if out.exists() and not (restart or part.exists()):
            raise UsageError(f"{out} is there already: give another --out, or --restart")
        self.part = PartFile(part, job, restart)
        self.files = {file.path: file for file in files}
        waiting = [file for file in self.files.values() if not self.part.holds(file)]
        self.waiting = sorted(waiting, key=lambda file: -file.n_bytes)
        """What has not been tagged yet, largest first, so that no worker is left with a long
        recording while the others have nothing to do."""

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.part.__exit__()

    def add(self, path: str, tags: FileTags) -> None:
        """Keeps what was found in a file."""
        self.part.append(self.files[path], tags)

    def finish(self) -> None:
        """Writes OUT, sorted by path, whole or not at all; then deletes the part file."""
        drafts = [path.with_name(f".{path.name}.tmp") for path in self._paths]
        try:
            table = TABLES[self._out.suffix](drafts)
            with contextlib.closing(table):
                for name in sorted(self.files):
                    if tags := self.part.read(name):
                        table.write(tags)
            for draft, path in zip(reversed(drafts), reversed(self._paths), strict=True):
                _sync(draft)
                os.replace(draft, path)
        except OSError as error:
            for draft in drafts:
                draft.unlink(missing_ok=True)
            raise EdgeAudioError(
                f"cannot write {self._out}: {error.strerror or error}; {self.part.path} has all "
                "results: make room, then give the same command again"
            ) from error
        self.part.path.unlink()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
