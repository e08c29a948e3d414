"""What was found in an archive, as tables for other programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from edge_audio.archive.job import FileTags
from edge_audio.errors import UsageError
from edge_audio.sinks.base import scored
from edge_audio.sinks.segments import Segment
from edge_audio.support.text import json_line, printable

ROWS_PER_GROUP = 65_536
EVENT_COLUMNS = ("path", "start_s", "end_s", "label", "score")


class Table(Protocol):
    """Writes what was found in one file after the other."""

    def write(self, tags: FileTags) -> None: ...

    def close(self) -> None: ...


def rounded(segment: Segment) -> dict[str, object]:
    """The fields of a segment in order, with numbers rounded to the precision that they have."""
    return {
        "start_s": round(segment.start_s, 3),
        "end_s": round(segment.end_s, 3),
        "label": segment.label,
        "score": round(segment.score, 4),
    }


def file_record(tags: FileTags) -> dict[str, object]:
    """The JSON form: path, duration_s, top, events, and heard_off where labels that are off were
    heard; path and error of a file that failed; all of them of one that could not be read to its
    end."""
    problem = {"error": tags.error} if tags.error else {}
    if not tags.was_heard:
        return {"path": tags.path, **problem}
    return {
        "path": tags.path,
        "duration_s": round(tags.duration_s, 3),
        "top": [scored(label, score) for label, score in tags.top],
        "events": [rounded(segment) for segment in tags.segments],
        **_heard_off(tags),
        **problem,
    }


def _heard_off(tags: FileTags) -> dict[str, object]:
    rows = [{**x._asdict(), "score": round(x.score, 4)} for x in tags.unwatched]
    return {"heard_off": rows} if rows else {}


def event_row(path: str, segment: Segment) -> list[object]:
    """The fields of `EVENT_COLUMNS` for CSV, where text stays on its line."""
    cells = [path, *rounded(segment).values()]
    return [printable(cell) if isinstance(cell, str) else cell for cell in cells]


def _file_row(tags: FileTags) -> dict[str, Any]:
    return {
        "path": tags.path,
        "duration_s": round(tags.duration_s, 3) if tags.was_heard else None,
        "n_events": len(tags.segments) if tags.was_heard else None,
        "top": [scored(label, score) for label, score in tags.top],
        "error": tags.error or None,
    }


class JsonLinesTable:
    """One object per file, see `file_record`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        (path,) = paths
        self._file = path.open("w", encoding="utf-8")

    def write(self, tags: FileTags) -> None:
        self._file.write(json_line(file_record(tags)) + "\n")

    def close(self) -> None:
        self._file.close()


class CsvTable:
    """Events in one file, recordings in another, where `top` is JSON."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = [path.open("w", encoding="utf-8", newline="") for path in paths]
        self._events, self._recordings = (csv.writer(f, lineterminator="\n") for f in self._files)
        self._events.writerow(EVENT_COLUMNS)
        self._recordings.writerow(["path", "duration_s", "n_events", "top", "error"])

    def write(self, tags: FileTags) -> None:
        self._events.writerows(event_row(tags.path, s) for s in tags.segments)
        row = _file_row(tags)
        row["path"] = printable(tags.path)
        row["top"] = json_line(row["top"])
        self._recordings.writerow(row.values())

    def close(self) -> None:
        for file in self._files:
            file.close()


class ParquetTable:
    """The same two tables as Parquet, written in groups of rows."""

    def __init__(self, paths: Iterable[Path]) -> None:
        pa = import_pyarrow()
        from pyarrow import parquet

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
            writer.write_table(import_pyarrow().Table.from_pylist(rows, schema=writer.schema))
            rows.clear()


def import_pyarrow() -> Any:
    """The pyarrow module. Raises UsageError if it is not installed."""
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
