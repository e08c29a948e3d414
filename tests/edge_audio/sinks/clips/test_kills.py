"""Clips are whole or absent, at whatever moment the process that records them is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_audio.sinks.clips.recorder import ClipsDestination
from tests.edge_audio.sinks.clips.clip_runs import (
    PCM,
    RATE_HZ,
    blocks,
    config,
    found,
    hear,
    hidden,
    sounds,
    stream,
)
from tests.support.paths import REPOSITORY
from tests.support.peers import eventually


def record_one(folder: str) -> None:
    """What a process does that is to be killed: record a sound that does not end."""
    sink = ClipsDestination(config(Path(folder))).open(stream())
    print("ready", flush=True)
    hear(sink, blocks(PCM), *sounds("Siren", 0.5, 99.0))
    time.sleep(600)


def record_many(folder: str) -> None:
    """The same with short clips, one after the other."""
    sink = ClipsDestination(config(Path(folder), pre_s=0.5, post_s=0.1)).open(stream())
    print("ready", flush=True)
    for i in range(1_000):
        heard = blocks(PCM[:RATE_HZ], start=i * RATE_HZ)
        hear(sink, heard, *sounds("Siren", i + 0.5, i + 0.7))
        time.sleep(0.005)  # else more would wait than is kept


@contextmanager
def recording(what: Callable[[str], None], folder: Path) -> Iterator[None]:
    """Such a process, killed with -9 when the block ends."""
    code = f"from {__name__} import {what.__name__} as run; run({str(folder)!r})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def settled(path: Path) -> bool:
    """Whether the file is there and grows no more."""
    n_bytes = path.stat().st_size if path.exists() else 0
    time.sleep(0.5)
    return 0 < n_bytes == path.stat().st_size


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process leaves that was killed while it recorded."""
    folder = tmp_path_factory.mktemp("killed")
    with recording(record_one, folder):
        eventually(lambda: settled(folder / "kitchen" / ".audio.part"))
    return folder


def test_kill_9_shows_no_broken_clip_and_the_next_start_saves_what_was_recorded(
    tmp_path: Path, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    assert found(tmp_path) == []
    assert hidden(tmp_path) != []
    ClipsDestination(config(tmp_path)).close()
    ((pcm, sidecar),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, PCM[: len(pcm)])
    assert len(pcm) > 18 * RATE_HZ  # less the second that waits and an unfinished FLAC frame
    assert sidecar["end_s"] == pytest.approx(len(pcm) / RATE_HZ, abs=1e-3)
    assert sidecar["label"] == "Siren"
    assert hidden(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="names there are no bytes")
def test_what_was_recorded_is_saved_in_a_folder_whose_name_is_not_utf8(
    tmp_path: Path, killed: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(killed, folder)
    ClipsDestination(config(folder)).close()
    assert len([*folder.rglob("*.flac")]) == 1


@pytest.mark.parametrize("delay_s", [0.1, 0.23, 0.31, 0.47])
def test_kill_9_at_any_moment_leaves_whole_clips_alone(tmp_path: Path, delay_s: float) -> None:
    with recording(record_many, tmp_path):
        time.sleep(delay_s)
    for pcm, sidecar in found(tmp_path):
        start = round(sidecar["start_s"] * RATE_HZ) % RATE_HZ
        assert len(pcm) == round((sidecar["end_s"] - sidecar["start_s"]) * RATE_HZ)
        np.testing.assert_array_equal(pcm, np.tile(PCM[:RATE_HZ], 2)[start : start + len(pcm)])
    n_whole = len(found(tmp_path))
    destination = ClipsDestination(config(tmp_path))
    assert destination.problem == ""
    destination.close()
    assert hidden(tmp_path) == []
    assert n_whole <= len(found(tmp_path)) <= n_whole + 1


@pytest.mark.parametrize("name", [".audio.part", ".draft.part"])
@pytest.mark.parametrize("content", [b"", b"rubbish", b"fLaC" + bytes(500)])
def test_leftovers_that_nobody_can_read_are_removed(
    tmp_path: Path, killed: Path, name: str, content: bytes
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    (tmp_path / "kitchen" / name).write_bytes(content)
    destination = ClipsDestination(config(tmp_path))
    assert destination.problem == ""
    destination.close()
    assert (found(tmp_path), hidden(tmp_path)) == ([], [])


def test_a_start_that_was_killed_while_it_saved_a_clip_is_made_up_for(
    tmp_path: Path, killed: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    audio = tmp_path / "kitchen" / ".audio.part"
    audio.rename(audio.with_name(".broken.part"))
    audio.write_bytes(b"fLaC")
    ClipsDestination(config(tmp_path)).close()
    ((pcm, _),) = found(tmp_path)
    np.testing.assert_array_equal(pcm, PCM[: len(pcm)])
    assert len(pcm) > 18 * RATE_HZ
