"""Writes the tables of docs/teachers.md, which `edge-audio teachers` prints: which teachers can be
loaded, and what they cost.

    python docs/teachers.py [FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from distill.teachers.listing import (
    COST_COLUMNS,
    DEFAULT_TFLOPS,
    FILE_COLUMNS,
    cost_rows,
    file_rows,
)
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "teachers.md"
BEGINS, ENDS = "<!-- tables: python docs/teachers.py -->", "<!-- end of the tables -->"


def files() -> str:
    """One row for each system."""
    return _markdown(FILE_COLUMNS, list(file_rows()))


def costs(only: Sequence[str] = ()) -> str:
    """One row for each published size."""
    return _markdown(COST_COLUMNS, list(cost_rows(DEFAULT_TFLOPS, only)))


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGINS)
    after = rest.split(ENDS)[1]
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    tables = f"{files()}\n\n{costs()}"
    out.write_text(f"{before}{BEGINS}\n\n{tables}\n\n{ENDS}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
