"""AudioSet, as its lists and downloads lie on disk, to a student of BEATs: docs/audioset.md."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from click.testing import CliRunner

from distill.cli.dataset import dataset
from distill.cli.distill import distill
from distill.data.clip_feed import ClipFeed, ClipPool
from distill.data.clip_list import read_clip_list
from distill.teachers.parity import architecture_of
from distill.training.trainer import load_student
from edge_audio.errors import UsageError
from tests.distill.workshop import KINDS, RATE_HZ, make_peers, sound
from tests.support.parity import COMMITTED, golden_state
from tests.support.paths import REPOSITORY

RECIPES = REPOSITORY / "distill" / "recipes"
BEATS = "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2.pt"
TINY = f"""
extends = "{RECIPES / "audioset.toml"}"

[stream]
pool_size = 6

[mixture]
duration_s = 1.28

[[teachers]]
kind = "beats"
checkpoint = "{BEATS}"
layers = [1, 3]

[student]
preset = "micro"

[training]
n_mixtures = 128
n_steps = 3
n_warmup_steps = 1
precision = "no"
"""


def make_audioset(folder: Path) -> None:
    """Segment lists and downloads: 4 videos of each kind, and one of them for evaluation."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"balanced_train": [], "unbalanced_train": [], "eval": []}
    for index, kind in enumerate(KINDS):
        for take, name in enumerate(
            ("balanced_train", "balanced_train", "unbalanced_train", "eval")
        ):
            video = f"{kind[:5]:-<9}{take:02}"
            lists[name].append(f'{video}, {take}.000, {take + 10}.000, "/m/{index}"')
            path = folder / name / f"Y{video}_{take}.000_{take + 10}.000.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, sound(kind, 2 * RATE_HZ, rng), RATE_HZ)
    for name, rows in lists.items():
        lines = ["# Segments csv", "# num_ytids", "# YTID, start_seconds, ...", *rows]
        (folder / f"{name}_segments.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def audioset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the how-to is followed: audioset/, peers/ and tiny.toml."""
    make_audioset(tmp_path / "audioset")
    make_peers(tmp_path / "peers")
    classes = (tmp_path / "peers" / "audioset_labels.csv").read_text()
    (tmp_path / "audioset" / "class_labels_indices.csv").write_text(classes)
    content = {
        "cfg": architecture_of(COMMITTED / "beats" / "golden.npz"),
        "model": golden_state("beats"),
        "label_dict": {index: f"/m/{index}" for index in range(10)},
    }
    torch.save(content, tmp_path / "peers" / BEATS)
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "audioset"))
    monkeypatch.setenv("EDGE_AUDIO_PEERS", str(tmp_path / "peers"))
    run(dataset, "audioset", "audioset")
    return tmp_path


def run(command: object, *words: str) -> str:
    assert hasattr(command, "main")
    done = CliRunner().invoke(command, words, catch_exceptions=False)  # type: ignore[arg-type]
    assert done.exit_code == 0, done.output
    return done.output


def test_lists_and_downloads_become_a_student_of_beats(
    audioset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "12 clips, 0 errors" in run(dataset, "check", "audioset", "--decode")
    read, pool = [], ClipFeed.pool

    def counted(feed: ClipFeed, number: int) -> ClipPool:
        read.append(number)
        return pool(feed, number)

    monkeypatch.setattr(ClipFeed, "pool", counted)
    run(distill, "--recipe", "tiny.toml", "--processes", "1")
    student, recipe = load_student(audioset / "runs" / "tiny-audioset" / "checkpoint.pt")
    assert all(torch.isfinite(value).all() for value in student.state_dict().values())
    train, held_out = recipe.split.divide(read_clip_list(audioset / "audioset"))
    assert len(train) == 9
    assert {Path(clip.path).parent.name for clip in held_out} == {"eval"}
    n_sample, n_steps = 128 // 64, 3
    assert len(read) == n_sample + n_steps  # a pool for a batch of 64, not one for a mixture


def test_recipes_for_what_is_published_say_why_they_do_not_train_on_it(audioset: Path) -> None:
    recipe = ["--recipe", str(RECIPES / "esc_free.toml")]
    advice = r"9 clips are of licence tier C, .* --set split.tiers='\[\"A\", \"B\", \"C\"\]'"
    with pytest.raises(UsageError, match=advice):
        run(distill, *recipe)
    (audioset / "audioset" / "eval_segments.csv").unlink()
    run(dataset, "audioset", "audioset")
    with pytest.raises(UsageError, match=r"no clip is in \[5\], .* --set split.held_out_folds"):
        run(distill, *recipe)


def test_two_machines_train_one_student(audioset: Path) -> None:
    """As `torchrun` starts them: a process on each, which meet at an address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    launch = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", "--rdzv_id=1"]
    command = [sys.executable, "-m", "torch.distributed.run", *launch]
    words = ["-m", "edge_audio", "distill", "--recipe", "tiny.toml", "--processes", "1"]
    machines = [
        subprocess.Popen(
            [*command, f"--rdzv_endpoint={address}", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [machine.communicate() for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told[0][1][-2000:]
    together = load_student(audioset / "runs" / "tiny-audioset" / "checkpoint.pt")[0].state_dict()
    run(distill, "--recipe", "tiny.toml", "--processes", "1", "--runs-dir", "alone")
    alone = load_student(audioset / "alone" / "tiny-audioset" / "checkpoint.pt")[0].state_dict()
    for name, value in alone.items():  # batch norm sees the halves of a batch apart
        torch.testing.assert_close(together[name], value, rtol=0.2, atol=0.05)
