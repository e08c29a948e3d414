"""What `evaluate` refuses before it scores for hours."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from distill.cli.evaluate import evaluate
from edge_audio.errors import EdgeAudioError


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (("--events", "--peer", "yamnet"), "--peer"),
        (("--events", "--beside"), "--beside"),
        (("--strange", "--events", "--beside"), "--beside"),
        (("--folds", "folds.toml", "--peer", "teacher"), "--peer"),
        (("--folds", "folds.toml", "--beside"), "--beside"),
        (("--soundscapes", "--sensitivity", "quiet"), "--sensitivity"),
        (("--soundscapes", "--events"), "one of them"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(
    options: tuple[str, ...], refused: str
) -> None:
    done = CliRunner().invoke(evaluate, ["none.pt", *options])
    assert done.exit_code == 2
    assert refused in done.output


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    out = tmp_path / "file" / "out"
    done = CliRunner().invoke(evaluate, ["none.pt", "--out", str(out)])
    assert isinstance(done.exception, EdgeAudioError)
    assert f"cannot write {out}" in str(done.exception)
