"""Events of a history as tables for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from edge_audio.errors import UsageError
from edge_audio.history.queries import HeardEvent
from edge_audio.support.text import printable

COLUMNS = ("at", "unix_s", "stream", "label", "score", "duration_s", "verdict", "told_label", "id")
_ROWS_PER_PIECE = 1000
_FORMULAS = ("=", "+", "-", "@")


def csv_pieces(events: Iterable[HeardEvent]) -> Iterator[str]:
    """A header and a row for each event, in pieces."""
    rows: Iterator[Iterable[object]] = (map(_cell, _values(event)) for event in events)
    yield _csv([COLUMNS])
    while piece := list(islice(rows, _ROWS_PER_PIECE)):
        yield _csv(piece)


def write_parquet(path: Path, events: Iterable[HeardEvent]) -> None:
    """Raises UsageError without pyarrow, OSError where the file cannot be written."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        hint = "pip install 'edge-audio[archive]'"
        raise UsageError(f"a table in Parquet needs pyarrow: {hint}") from error
    schema = pyarrow.schema(
        [
            ("at", pyarrow.string()),
            ("unix_s", pyarrow.float64()),
            *((name, pyarrow.string()) for name in ("stream", "label")),
            *((name, pyarrow.float64()) for name in ("score", "duration_s")),
            *((name, pyarrow.string()) for name in ("verdict", "told_label")),
            ("id", pyarrow.int64()),
        ]
    )
    rows = (dict(zip(COLUMNS, _values(event), strict=True)) for event in events)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while piece := list(islice(rows, _ROWS_PER_PIECE)):
            writer.write_table(pyarrow.Table.from_pylist(piece, schema))


def _values(event: HeardEvent) -> tuple[Any, ...]:
    at = event.at.isoformat(timespec="milliseconds")
    said = (event.verdict, event.told_label)
    what = (event.stream, event.label, event.score, event.duration_s)
    return (at, round(event.unix_s, 3), *what, *said, event.id)


def _cell(value: object) -> object:
    """Spreadsheets take text that begins so for a formula, whoever wrote it."""
    if not isinstance(value, str):
        return "" if value is None else value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _csv(rows: Iterable[Iterable[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
