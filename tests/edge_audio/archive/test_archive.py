"""Archives: many files, runs that are cut short, files and disks that are bad."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import soundfile

from tests.support import toy
from tests.support.command_line import COMMAND, error_line, records, run

N_FILES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six recordings of different lengths."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for i in range(N_FILES):
        soundfile.write(folder / f"{i}.wav", toy.noise(16_000 * (i + 1), seed=i), 16_000)
    return folder


@pytest.fixture(scope="module")
def long_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 hours of silence, without taking up room: it is never tagged to its end."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    n_bytes = 16 * 3600 * 32_000
    riff = struct.pack("<4sI4s", b"RIFF", 36 + n_bytes, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    path.write_bytes(riff + form + struct.pack("<4sI", b"data", n_bytes))
    os.truncate(path, 44 + n_bytes)
    return path


def until(condition: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in a minute")


def start(*arguments: object) -> subprocess.Popen[str]:
    """Heeds Ctrl-C, which a shell's background jobs, and so the tests of one, would ignore."""
    heeding = ["env", "--default-signal=INT"]
    command = [*heeding, *COMMAND, "tag", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if is_worker(child)]


def is_worker(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # one that was killed, until the parent takes note of it
        return False


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def printed(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    return records(run("tag", folder, "--format", "jsonl", *arguments).stdout)


def test_tables_hold_what_is_printed(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    expected = printed(folder)
    events = [{"path": tags["path"], **e} for tags in expected for e in tags["events"]]
    for suffix in ("jsonl", "csv", "parquet"):
        run("tag", folder, "--jobs", 2, "--out", tmp_path / f"out.{suffix}")
    assert records((tmp_path / "out.jsonl").read_text()) == expected
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == events
    files = parquet.read_table(tmp_path / "out-files.parquet").to_pylist()
    assert [row["top"] for row in files] == [tags["top"] for tags in expected]
    assert [row["n_events"] for row in files] == [len(tags["events"]) for tags in expected]
    with (tmp_path / "out-files.csv").open() as file:
        assert [json.loads(row["top"]) for row in csv.DictReader(file)] == [
            tags["top"] for tags in expected
        ]
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.tmp"))


def test_several_jobs_print_in_the_order_of_the_files(folder: Path) -> None:
    assert printed(folder, "--jobs", 2) == printed(folder)


def test_a_run_stopped_by_ctrl_c_is_gone_on_with(
    folder: Path, long_wav: Path, tmp_path: Path
) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    process = start(folder, long_wav, "--jobs", 2, "--out", out)
    until(lambda: n_lines(part) == 1 + N_FILES)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr is not None
    assert f"{N_FILES} of {N_FILES + 1} files" in process.stderr.read()
    with part.open("ab") as file:
        file.write(b'{"n_bytes":12')  # as a power failure would leave it
    changed = error_line(run("tag", folder, "--out", out, "--top", 2, ok=False), 2)
    assert "--restart" in changed
    done = run("tag", folder, "--out", out)
    assert f"{N_FILES} files were tagged before" in done.stderr
    assert "tagged 0 files" in done.stderr
    assert records(out.read_text()) == printed(folder)
    assert "--restart" in error_line(run("tag", folder, "--out", out, ok=False), 2)
    assert f"tagged {N_FILES} files" in run("tag", folder, "--out", out, "--restart").stderr


def test_a_killed_worker_costs_no_result(folder: Path, long_wav: Path, tmp_path: Path) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    process = start(folder, long_wav, "--jobs", 1, "--out", out)
    first = until(lambda: workers(process))[0]
    first.kill()
    alone = until(lambda: [worker for worker in workers(process) if worker.pid != first.pid])
    alone[0].kill()  # it has the long file, which is handed out first, by itself
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert f"{long_wav}: its worker died twice" in process.stderr.read()
    found = {Path(tags["path"]).name: tags for tags in records(out.read_text())}
    assert "died twice" in found.pop("long.wav")["error"]
    assert list(found.values()) == printed(folder)
    assert not part.exists()


def test_two_runs_do_not_write_the_same_table(long_wav: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    process = start(long_wav, "--jobs", 1, "--out", out)
    try:
        until(lambda: workers(process))
        done = run("tag", long_wav, "--out", out, "--restart", ok=False)
        assert "another run" in error_line(done, 2)
    finally:
        children = workers(process)
        process.kill()
        process.communicate()
    assert psutil.wait_procs(children, timeout=60)[1] == []  # none outlives the run


def test_a_full_disk_keeps_what_is_done(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = shlex.join([*COMMAND, "tag", str(folder), "--jobs", "1", "--out", str(out)])
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec {command}"], capture_output=True, text=True, check=False
    )
    assert limited.returncode == 1
    assert "what was tagged so far is kept" in limited.stderr
    assert "tagged before" in run("tag", folder, "--out", out).stderr
    assert records(out.read_text()) == printed(folder)


def test_bad_files_are_listed_and_the_others_tagged(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (folder / "bad.wav").write_bytes(b"not audio")
    odd = os.fsencode(folder) + b"/\xff.wav"
    os.link(folder / "0.wav", odd)
    done = run("tag", folder, tmp_path / "gone.wav", "--out", out, ok=False)
    assert done.returncode == 1
    found = {Path(tags["path"]).name: tags for tags in records(out.read_text())}
    assert len(found) == N_FILES + 3
    assert {name for name, tags in found.items() if "error" in tags} == {
        "bad.wav",
        "gone.wav",
        "\\udcff.wav",
    }


def test_a_missing_folder_for_the_table_is_one_line(folder: Path, tmp_path: Path) -> None:
    line = error_line(run("tag", folder, "--out", tmp_path / "no" / "out.csv", ok=False), 2)
    assert "folder that exists" in line
