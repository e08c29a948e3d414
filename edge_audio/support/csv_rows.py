"""Tables that people write, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_audio.errors import UsageError


def csv_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of each row below the one that names the columns; empty lines are passed over.

    path: what errors name. Raises UsageError, with the line, for a row that has not as many columns
    as there are names, for a quote that never closes, and for a column that is named twice.
    """
    reader = csv.reader(lines, strict=True)
    names: list[str] = []
    try:
        for values in reader:
            line = reader.line_num
            if names and values and len(values) != len(names):
                counts = f"{len(values)} columns, where the first line names {len(names)}"
                raise UsageError(f"{path}, line {line}: {counts}: {','.join(names)}")
            if names and values:
                yield line, dict(zip(names, values, strict=True))
            elif not names:
                names = values
                if len({*names}) < len(names):
                    raise UsageError(f"{path}, line {line}: a column is named twice")
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
