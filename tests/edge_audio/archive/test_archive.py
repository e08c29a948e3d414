"""Archives: many files, runs that are cut short, files and disks that are bad."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import soundfile

from edge_audio.archive.job import FileTags, make_job, tag_file
from edge_audio.archive.part_file import Found, PartFile
from edge_audio.archive.run import Archive
from edge_audio.archive.search import duration_s
from edge_audio.archive.tables import CsvTable
from edge_audio.archive.writers import WRITERS
from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import load_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.sinks.segments import Segment
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
    for other in (("--top", 2), ("--channel", "left")):
        changed = error_line(run("tag", folder, "--out", out, *other, ok=False), 2)
        assert "--restart" in changed
    done = run("tag", folder, "--out", out)
    assert f"{N_FILES} files were tagged before" in done.stderr
    assert "tagged 0 files" in done.stderr
    assert records(out.read_text()) == printed(folder)
    assert "--restart" in error_line(run("tag", folder, "--out", out, ok=False), 2)
    assert f"tagged {N_FILES} files" in run("tag", folder, "--out", out, "--restart").stderr


def test_the_second_table_takes_no_other_files_place(folder: Path, tmp_path: Path) -> None:
    notes = tmp_path / "out-files.csv"
    notes.write_text("precious")
    refused = error_line(run("tag", folder, "--out", tmp_path / "out.csv", ok=False), 2)
    assert f"{notes} is there already" in refused
    assert notes.read_text() == "precious"


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
    assert {name for name, tags in found.items() if "error" in tags} == {"bad.wav", "gone.wav"}


def test_a_raw_file_is_passed_over_in_a_folder_and_fails_by_its_name(
    folder: Path, tmp_path: Path
) -> None:
    raw = folder / "dump.raw"
    raw.write_bytes(bytes(32_000))
    assert len(printed(folder)) == N_FILES
    for options in ((), ("--jobs", 2)):
        done = run("tag", raw, folder, "--format", "jsonl", *options, ok=False)
        assert done.returncode == 1
        assert len(records(done.stdout)) == N_FILES
        assert f"{raw} has no header" in done.stderr
    out = tmp_path / "out.jsonl"
    assert run("tag", raw, folder, "--out", out, ok=False).returncode == 1
    found = {Path(tags["path"]).name: tags for tags in records(out.read_text())}
    assert "has no header" in found.pop("dump.raw")["error"]
    assert list(found.values()) == printed(folder)


@pytest.mark.parametrize(
    "error", [TypeError, RuntimeError, ValueError, MemoryError, RecursionError]
)
@pytest.mark.parametrize("method", ["__init__", "read"])
def test_whatever_a_decoder_raises_fails_its_file_alone(
    folder: Path, error: type[Exception], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = str(folder / "0.wav"), str(folder / "1.wav")
    job = msgspec.msgpack.encode(
        make_job(load_bundle("tiny-int8"), "auto", EventSpec(), n_top=1, ranked=())
    )
    real = getattr(soundfile.SoundFile, method)

    def choke(self: soundfile.SoundFile, *arguments: Any, **options: Any) -> Any:
        if "1.wav" in str(arguments[0] if method == "__init__" else self.name):
            self._file = None
            raise error("what nobody\nexpected")
        return real(self, *arguments, **options)

    before = tag_file(job, good)
    assert not before.error
    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, method, choke)
        found = tag_file(job, bad)
        assert duration_s(Path(bad)) == (0.0 if method == "__init__" else 2.0)
    assert found.path == bad
    assert bad in found.error
    assert "what nobody expected" in found.error
    assert tag_file(job, good) == before


def test_names_of_files_do_nothing_to_a_terminal_a_table_or_a_label_track(
    folder: Path, tmp_path: Path
) -> None:
    name = "a\x1b[31m\n1.000\t2.000\tforged\x9b\u202e[bold]:dog:.wav"
    shutil.copy(folder / "5.wav", folder / name)
    bad = folder / f"bad{name}"
    bad.write_bytes(b"not audio")
    shown = r"a\x1b[31m\n1.000\t2.000\tforged\x9b\u202e[bold]:dog:.wav"
    for n_jobs in (1, 2):
        for format_name in ("text", "csv", "jsonl"):
            options = ("--format", format_name, "--threshold", "0.001", "--jobs", n_jobs)
            done = run("tag", folder / name, bad, *options, ok=False)
            for output in (done.stdout, done.stderr):
                assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", output)
            assert done.stderr.count("\n") == 1
            assert f"bad{shown}" in done.stderr
            if format_name != "jsonl":
                assert shown in done.stdout
            else:
                assert records(done.stdout)[0]["path"] == str(folder / name)
    run("tag", folder / name, "--out", tmp_path / "out.csv", "--threshold", "0.001")
    for table in ("out.csv", "out-files.csv"):
        with (tmp_path / table).open(newline="") as file:
            paths = {row["path"] for row in csv.DictReader(file)}
        assert paths == {str(folder / shown)}


def test_labels_and_names_stay_on_their_line_of_a_track() -> None:
    out = io.StringIO()
    segment = Segment(1.0, 2.0, "Dog\n9.000\t9.500\tforged\x1b[2J", 0.5)
    for name, writer in WRITERS.items():
        writer(out).write(FileTags(path="x\n.wav", segments=[segment], top=[("Do\rg", 0.5)]))
        assert not set(out.getvalue()) & set("\x1b\r"), name
    assert "1.000\t2.000\tDog\\n9.000\\t9.500\\tforged\\x1b[2J\n" in out.getvalue()


def test_two_threads_of_one_process_do_not_write_the_same_part_file(tmp_path: Path) -> None:
    job = make_job(load_bundle("tiny-int8"), "auto", EventSpec(), n_top=1, ranked=())
    path = tmp_path / "part"
    with PartFile(path, job) as part:
        with pytest.raises(UsageError, match="another run"):
            PartFile(path, job)
        part.append(Found("a.wav", 1, 2), FileTags(path="a.wav"))
    with PartFile(path, job) as part:
        assert len(part) == 1
        assert part.holds(Found("a.wav", 1, 2))
        part.finish()
    assert not list(tmp_path.iterdir())


def test_tag_can_be_imported_where_there_is_no_fcntl() -> None:
    code = (
        "import builtins, sys\n"
        "from types import ModuleType\n"
        "import filelock\n"  # which on Windows takes msvcrt
        "for name in ('fcntl', 'termios', 'resource', 'pwd', 'grp'): sys.modules[name] = None\n"
        "import edge_audio.cli.tag, edge_audio.archive.run, edge_audio.support.locks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_table_that_cannot_be_finished_leaves_the_older_one_and_the_part_file(
    tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(load_bundle("tiny-int8"), "auto", EventSpec(), n_top=1, ranked=())
    out = tmp_path / "out.csv"
    out.write_text("older")
    (tmp_path / "out-files.csv").write_text("older")
    files = [Found(f"{i}.wav", 1, 2) for i in range(2)]

    def fail(*_: object) -> None:
        raise error

    with Archive(out, job, files, restart=True) as archive:
        for file in files:
            archive.add(file.path, FileTags(path=file.path))
        with monkeypatch.context() as patch:
            patch.setattr(CsvTable, "close", fail)
            with pytest.raises((EdgeAudioError, KeyboardInterrupt)):
                archive.finish()
    assert {path.name: path.read_text() for path in tmp_path.glob("*.csv")} == {
        "out.csv": "older",
        "out-files.csv": "older",
    }
    assert n_lines(tmp_path / "out.csv.part") == 3
    assert len(list(tmp_path.iterdir())) == 3
    with Archive(out, job, files) as archive:
        assert not archive.waiting
        archive.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-files.csv", "out.csv"]
    assert n_lines(tmp_path / "out-files.csv") == 3


def test_a_missing_folder_for_the_table_is_one_line(folder: Path, tmp_path: Path) -> None:
    line = error_line(run("tag", folder, "--out", tmp_path / "no" / "out.csv", ok=False), 2)
    assert "folder that exists" in line
