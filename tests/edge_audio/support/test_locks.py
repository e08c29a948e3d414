"""Locks between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_audio.support.locks import Lock, LockedError


def test_one_at_a_time_has_a_lock_and_it_leaves_no_file(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(LockedError):
        Lock(tmp_path / "lock")
    lock.release()
    assert not list(tmp_path.iterdir())
    Lock(tmp_path / "lock").release()


def test_a_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from edge_audio.support.locks import Lock; "
        "lock = Lock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError):
            Lock(tmp_path / "lock")
        process.kill()
    Lock(tmp_path / "lock").release()


def test_a_lock_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Lock(tmp_path / "none" / "lock")
