"""The picture of the rooms is what the imports say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.paths import REPOSITORY

PROGRAM = REPOSITORY / "docs" / "rooms.py"


def test_the_picture_of_the_rooms_is_drawn_from_the_imports(tmp_path: Path) -> None:
    drawn = tmp_path / "rooms.svg"
    subprocess.run([sys.executable, PROGRAM, drawn], check=True, cwd=tmp_path)
    committed = (REPOSITORY / "docs" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn.read_text(encoding="utf-8") == committed, "python docs/rooms.py draws it anew"
