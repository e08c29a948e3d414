"""A history in a file, for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_audio.history.store import History


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = History(tmp_path / "sounds.db")
    yield opened
    opened.close()
