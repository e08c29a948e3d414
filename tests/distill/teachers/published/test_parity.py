"""Adapters compute what the authors' own code computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.teachers.parity import STUDENT_BLOCKS, compare, main
from distill.teachers.published.registry import kinds
from edge_audio.errors import UsageError
from tests.support.parity import COMMITTED, golden_network, golden_waveform, parity_folders
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


def test_blocks_of_students_and_plain_files_are_passed_over_and_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = [COMMITTED / name for name in STUDENT_BLOCKS]
    assert all((folder / "golden.npz").is_file() for folder in blocks)
    notes = tmp_path / "README.md"
    notes.touch()
    assert main([*map(str, blocks), str(notes), str(COMMITTED / "apc")]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("test_authors_mathematics.py compares it") == len(blocks)
    assert "README.md: a file, passed over" in shown.err
    assert "apc" in shown.out


def test_tera_batches_clips_as_its_authors_do() -> None:
    """The longest clip gives what it gives alone, and no padding is heard in a shorter one."""
    network: Any = golden_network("tera")
    waveform = golden_waveform("tera").repeat(3, 1)
    n_samples = waveform.shape[1]
    lengths = torch.tensor([n_samples, n_samples * 3 // 4, n_samples // 2])
    for row, length in zip(waveform, lengths.tolist(), strict=True):
        row[length:] = 0.0
    made = network.recompute({"waveform": waveform, "lengths": lengths})
    alone = network.recompute({"waveform": waveform[:1]})
    torch.testing.assert_close(made["output"][:1], alone["output"])
    n_frames = round(int(lengths[1]) / (n_samples / made["features"].shape[1]))
    assert not made["features"][1, n_frames:].any()
    cut = network.encode(made["features"][1:2, :n_frames])
    torch.testing.assert_close(made["output"][1:2, :n_frames], cut.output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lighthubert", "dymn", "htsat"])
def test_a_golden_need_not_hold_the_features(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    folder.mkdir()
    (folder / "config.json").write_bytes((COMMITTED / kind / "config.json").read_bytes())
    with np.load(COMMITTED / kind / "golden.npz") as arrays:
        kept = {key: arrays[key] for key in arrays.files if key != "features"}
    np.savez(folder / "golden.npz", **kept)
    assert all(one.largest is not None and one.largest < 1e-2 for one in compare(folder))
