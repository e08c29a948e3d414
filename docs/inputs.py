"""Writes the table of docs/inputs.md: which inputs are heard, which are refused, and how.

    python docs/inputs.py [FILE]

The rows are those that tests/edge_audio/sources/test_inputs.py hears (tests/support/inputs.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.inputs import INPUTS
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "inputs.md"
BEGINS, ENDS = "<!-- table: python docs/inputs.py -->", "<!-- end of the table -->"


def table() -> str:
    """One row for each input."""
    rows = [f"| {one.what} | {one.by} | {one.outcome} |" for one in INPUTS]
    return "\n".join(["| input | read | what becomes of it |", "|---|---|---|", *rows])


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGINS)
    after = rest.split(ENDS)[1]
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    out.write_text(f"{before}{BEGINS}\n\n{table()}\n\n{ENDS}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
