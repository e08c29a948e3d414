"""Adapters compute what the authors' own code computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distill.teachers.parity import compare, main
from distill.teachers.published.registry import kinds
from edge_audio.errors import UsageError
from tests.support.parity import COMMITTED, parity_folders
from tests.support.paths import REPOSITORY


def test_every_adapter_has_a_golden_in_the_repository() -> None:
    without = {kind for kind in kinds() if not (COMMITTED / kind / "golden.npz").is_file()}
    assert not without


@pytest.mark.parametrize("folder", parity_folders(), ids=lambda folder: folder.name)
def test_every_array_agrees_with_the_authors_code(folder: Path) -> None:
    found = compare(folder)
    assert [one for one in found if not one.agrees] == []
    assert {"features", "hidden_00", "output"} <= {one.array for one in found}


def _save_changed(folder: Path, name: str, change: float) -> Path:
    """A copy of audiomae's golden with one array shifted."""
    made = folder / "audiomae"
    made.mkdir()
    source = COMMITTED / "audiomae"
    (made / "config.json").write_bytes((source / "config.json").read_bytes())
    with np.load(source / "golden.npz") as arrays:
        changed = {key: arrays[key] + (change if key == name else 0) for key in arrays.files}
    np.savez(made / "golden.npz", **changed)
    return made


@pytest.mark.parametrize(
    "name", ["hidden_02", "logits", "features", "state.blocks.1.attn.qkv.bias"]
)
def test_a_small_difference_anywhere_is_found(tmp_path: Path, name: str) -> None:
    assert not all(one.agrees for one in compare(_save_changed(tmp_path, name, 0.01)))


def test_an_array_that_no_adapter_computes_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _save_changed(tmp_path, "output", 0.0)
    with np.load(made / "golden.npz") as arrays:
        np.savez(made / "golden.npz", novelty=arrays["output"], **arrays)
    assert main([str(made)]) == 1
    assert "not computed" in capsys.readouterr().out


def test_the_command_prints_every_array_and_gives_its_verdict() -> None:
    command = [sys.executable, "-m", "distill.teachers.parity", str(COMMITTED / "audiomae")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for array in ("features", "hidden_00", "hidden_03", "output", "logits"):
        assert array in done.stdout


def test_wrong_usage_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    with pytest.raises(UsageError, match="no golden"):
        compare(tmp_path)
    (tmp_path / "golden.npz").touch()
    assert main([str(tmp_path)]) == 1
    assert "no teacher is called" in capsys.readouterr().err
