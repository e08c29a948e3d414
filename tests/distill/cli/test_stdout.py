"""What a command prints on standard output is its result: `$(edge-audio distill ...)` is a path."""

from __future__ import annotations

import ast
from pathlib import Path

import click
import pytest

from distill.cli.dataset import dataset
from distill.cli.distill import distill
from distill.cli.evaluate import evaluate
from distill.cli.pretrain import pretrain
from distill.data.shards import ShardWriter
from quantize.cli import export, quantize
from tests.distill.workshop import TINY_RECIPE
from tests.support.paths import REPOSITORY

DISTILL_RECIPE = """
name = "tiny"
seed = 3
split = { tiers = ["A"], held_out_folds = [5], hold_out_esc = true }
teachers = [{ kind = "efficientat", checkpoint = "small.pt", width = 0.1, layers = [16] }]
mixture = { duration_s = 1.28 }
training = { n_mixtures = 64, n_steps = 1, batch_size = 8 }
[student]
preset = "micro"
"""
PRETRAIN_RECIPE = """
name = "own"
seed = 3
split = { tiers = ["A"], held_out_folds = [5], hold_out_esc = true }
mixture = { duration_s = 1.28 }
training = { n_steps = 1, batch_size = 2 }
encoder = { dim = 12, n_blocks = 2, n_heads = 2 }
mask = { n_clones = 1 }
objective = { n_target_blocks = 2, decoder_dim = 8, decoder_layers = 1 }
"""


def stdout(capfd: pytest.CaptureFixture[str], command: click.Command, *arguments: object) -> str:
    """What the process has written there, libraries in C included."""
    capfd.readouterr()
    command.main([str(argument) for argument in arguments], standalone_mode=False)
    return capfd.readouterr().out


@pytest.fixture
def checkpoint(in_workshop: Path) -> Path:
    return in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"


def test_distill_prints_the_path_of_the_checkpoint(
    in_workshop: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(DISTILL_RECIPE)
    printed = stdout(
        capfd, distill, "--recipe", recipe, "--runs-dir", tmp_path / "runs", "--processes", 1
    )
    assert printed == f"{tmp_path / 'runs' / 'tiny' / 'checkpoint.pt'}\n"


def test_pretrain_prints_the_path_of_the_checkpoint_and_its_probe_a_table(
    in_workshop: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(PRETRAIN_RECIPE)
    named = ("--recipe", recipe, "--runs-dir", tmp_path / "runs", "--set", "name=mine")
    printed = stdout(capfd, pretrain, *named)
    checkpoint = tmp_path / "runs" / "mine" / "checkpoint.pt"
    assert printed == f"{checkpoint}\n"
    table = stdout(capfd, pretrain, "--probe", checkpoint).splitlines()
    assert "ESC-50, 5 folds" in table[0] + table[1]
    assert "100%" not in "".join(table)


def test_evaluate_prints_what_it_measured(
    checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = stdout(capfd, evaluate, checkpoint).splitlines()
    assert lines[0].startswith("36 held-out clips in 18 groups")
    assert not [line for line in lines if "scoring clips" in line or "fitting" in line]


def test_dataset_prints_what_it_found(
    in_workshop: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    classes = ("--classes", in_workshop / "peers" / "audioset_labels.csv")
    data, shards = in_workshop / "data", tmp_path / "shards"
    printed = stdout(capfd, dataset, "check", data, *classes, "--decode")
    assert printed == "60 clips, 0 errors, 0 warnings\n"
    printed = stdout(capfd, dataset, "shard", data, shards, "--clips-per-shard", 50)
    assert printed == f"2 shards in {shards}\n"
    loose = tmp_path / "loose"
    list(ShardWriter(data, loose, 60))
    (loose / "manifest.csv").unlink()
    lines = stdout(capfd, dataset, "webdataset", loose, *classes).splitlines()
    assert (lines[0].partition(",")[0], lines[1:]) == ("60 clips", [str(loose / "manifest.csv")])


def test_quantize_and_export_print_what_they_made(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--to", "native", "--out")  # which is exported in no time
    made = [
        stdout(capfd, quantize, checkpoint, "--name", "a", "--no-thresholds", *options, tmp_path),
        stdout(capfd, export, checkpoint, *options, tmp_path / "b"),
    ]
    for name, printed in zip("ab", made, strict=True):
        first, second = printed.splitlines()
        assert first.startswith(f"{tmp_path / name}: ")
        assert second == "labels on of 527: 0 quiet, 0 normal, 0 eager"


def test_bars_are_drawn_in_one_place_alone() -> None:
    """`distill.progress` draws on standard error; whoever imports rich's bars draws anywhere."""
    drawing = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("distill", "quantize")
        for path in (REPOSITORY / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "rich.progress"
    }
    assert drawing == {"distill/progress.py"}
