"""Which recordings a folder stands for, and what is told of those that it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_audio.archive.pool import in_order
from edge_audio.archive.search import expand


def test_folders_that_nobody_may_look_into_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(b"")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    said: list[str] = []
    assert list(expand([tmp_path], said.append)) == [tmp_path / "open" / "a.wav"]
    (line,) = said
    assert line.startswith(f"{tmp_path / 'closed'} cannot be looked into")
    assert "Permission denied" in line


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_to_folders_are_told_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    for name in ("disk", "round.wav"):
        (tmp_path / name).symlink_to(tmp_path)
    said: list[str] = []
    assert list(expand([tmp_path], said.append)) == [tmp_path / "a.wav"]
    assert [line.partition(" is a link")[0] for line in sorted(said)] == [
        str(tmp_path / name) for name in ("disk", "round.wav")
    ]


def test_results_are_let_go_once_they_were_yielded() -> None:
    """Scores of an hour are 95 MB."""
    alive: set[str] = set()

    class Result:
        def __init__(self, name: str) -> None:
            self.name = name
            alive.add(name)

        def __del__(self) -> None:
            alive.discard(self.name)

    def results() -> Iterator[tuple[str, Result]]:
        yield from ((name, Result(name)) for name in "bac")

    names = []
    for result in in_order("abac", results()):
        names.append(result.name)
        assert len(alive) <= 2
    assert names == list("abac")
