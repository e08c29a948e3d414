"""The reference of the public names builds without a warning, and leaves no name without words."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_audio
from tests.support.paths import REPOSITORY

PROGRAM = REPOSITORY / "docs" / "reference.py"


def write(folder: Path, lines: str = "import reference; reference.main()") -> str:
    """Runs the program; returns what it said if it failed."""
    pytest.importorskip("pdoc", reason="needs the docs extra")
    code = f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); {lines}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""


def test_the_reference_builds_without_a_warning_and_has_every_public_name(tmp_path: Path) -> None:
    assert write(tmp_path) == ""
    page = (tmp_path / "edge_audio.html").read_text(encoding="utf-8")
    assert {name for name in edge_audio.__all__ if f'id="{name}"' not in page} == set()


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a id="x" href="#x">in</a><a href="b.html">out</a>')
    said = write(tmp_path, "import reference; reference.write = lambda _: 0; reference.main()")
    assert said.splitlines() == ["links that lead nowhere:", "a.html: b.html"]


def members() -> Iterator[tuple[str, object]]:
    """Public names, and the methods and properties of public classes."""
    for name in edge_audio.__all__:
        value = getattr(edge_audio, name)
        if name == "__version__":
            continue
        yield name, value
        if isinstance(value, type):
            own = {k: v for k, v in vars(value).items() if not k.startswith("_")}
            yield from (
                (f"{name}.{k}", v)
                for k, v in own.items()
                if isinstance(v, property | classmethod) or inspect.isfunction(v)
            )


def test_every_public_name_and_method_has_a_docstring() -> None:
    assert [name for name, value in members() if not (inspect.getdoc(value) or "").strip()] == []
