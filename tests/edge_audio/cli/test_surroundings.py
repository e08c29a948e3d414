"""Closed streams, no home, names of any bytes, terminals of ASCII: a result, or one clear line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import COMMAND, HANG_S, error_line, records, run
from tests.support.toy import noise

pytestmark = pytest.mark.skipif(os.name == "nt", reason="speaks of Unix")
SECOND = noise(16_000).tobytes()
NOBODY = """
import os, pwd, sys
def nobody(*_): raise KeyError("uid not found")
pwd.getpwuid = pwd.getpwnam = nobody
from edge_audio.cli import main
sys.argv[0] = "edge-audio"
main()
"""


@pytest.fixture
def folder(tmp_path: Path, bursts_wav: Path) -> Path:
    """Recordings with odd names."""
    for name in (b"ok.wav", "ж.wav".encode(), b"new\nline\t\x1b[31m.wav", b"bad\xff.wav"):
        os.link(bursts_wav, os.path.join(os.fsencode(tmp_path), name))
    return tmp_path


def shell(folder: Path, line: str, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(COMMAND)} {line}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert "Traceback" not in said
    assert "unexpected" not in said
    assert "Exception" not in said
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-", "2<ok.wav", "1<ok.wav"])
def test_closed_streams_are_no_error(folder: Path, closed: str) -> None:
    assert shell(folder, f"tag ok.wav {closed}")[0] == 0
    assert shell(folder, f"listen --source ok.wav --format text --json log {closed}")[0] == 0
    assert all(record["stream"] == "ok" for record in records((folder / "log").read_text()))
    assert shell(folder, f"report log --out r.html {closed}")[0] == 0
    assert shell(folder, f"models {closed}")[0] == 0
    if closed == ">&-":
        assert "standard output is closed" in shell(folder, f"models {closed}")[2]


def test_nothing_on_a_closed_input_is_one_clear_line(folder: Path) -> None:
    code, _, stderr = shell(folder, "listen --source - --format text <&-")
    assert code == 1
    assert stderr.count("\n") == 1


def test_a_full_device_is_one_clear_line(folder: Path) -> None:
    for line in ("tag ok.wav", "models", "config --example", "listen --source ok.wav --top 1"):
        code, _, stderr = shell(folder, f"{line} >/dev/full")
        assert code == 1
        assert "error: no space left on device" in stderr


@pytest.mark.parametrize(
    "command",
    [
        *("tag ok.wav", "models", "service show", "service install --dry-run"),
        *("listen --source ok.wav --format text --backend native", "verify micro-int8"),
        *("listen --source ok.wav --json=~/x --check", "listen --source demo --duration 1"),
    ],
)
def test_who_has_no_home_gets_a_result_or_one_clear_line(folder: Path, command: str) -> None:
    missing = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    env = {name: value for name, value in os.environ.items() if name not in missing}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, *command.split()],
        cwd=folder,
        env=env,
        capture_output=True,
        timeout=HANG_S,
        check=False,
    )
    assert b"unexpected" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (folder / "~").exists()
    if done.returncode:
        assert b"home" in done.stderr.splitlines()[-1]


ASCII = [
    {"LC_ALL": "C"},
    {"PYTHONIOENCODING": "ascii"},
    {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii:strict",
    },
]


@pytest.mark.parametrize("env", ASCII, ids=["C", "ascii", "strict"])
def test_terminals_of_ascii_show_escapes_and_json_stays_json(
    folder: Path, env: dict[str, str]
) -> None:
    code, stdout, stderr = shell(folder, "tag --format jsonl ж.wav", **env)
    if code:  # to a system of ASCII alone that name is no text
        assert stderr.count("\n") == 1
        return
    if "PYTHONIOENCODING" in env:
        assert stdout.isascii()
    if "PYTHONUTF8" not in env:
        assert json.loads(stdout)["path"] == "ж.wav"
    for line in ("tag ж.wav", "listen --source ж.wav --format text --top 1"):
        assert shell(folder, line, **env)[0] == 0


def test_names_of_any_bytes_forge_no_line(folder: Path) -> None:
    for name in os.listdir(os.fsencode(folder)):
        quoted = shlex.quote(os.fsdecode(name))
        for form in ("audacity", "csv", "jsonl", "text"):
            code, stdout, stderr = shell(folder, f"tag --format {form} {quoted}")
            assert code == 0
            assert "\x1b" not in stdout + stderr
        code, stdout, _ = shell(folder, f"listen --source {quoted} --format jsonl --json log")
        assert code == 0
        records(stdout)
        records((folder / "log").read_text())


@pytest.mark.parametrize("zone", ["Foo/Bar", "LMT-05:53:28", ":", "UTC-14"])
def test_any_time_zone_will_do(folder: Path, zone: str) -> None:
    line = "listen --source demo --duration 0.3 --format none --json log"
    assert shell(folder, line, TZ=zone)[0] == 0
    assert shell(folder, "report log --out r.html", TZ="UTC+3")[0] == 0


@pytest.mark.parametrize(
    "flags",
    [
        *(["--json", ""], ["--json="], ["--mqtt", ""], ["--webhook", " "], ["--clips", ""]),
        *(["--source", ""], ["--only", ""], ["--model="], ["--config", ""], ["--device", ""]),
    ],
)
def test_empty_values_are_refused_by_the_name_of_their_flag(flags: list[str]) -> None:
    line = error_line(run("listen", *flags, "--check", ok=False), 2)
    assert f"{flags[0].rstrip('=')} has no value" in line


@pytest.mark.parametrize(
    "flags",
    [
        *(["--duration", "inf"], ["--duration", "nan"], ["--duration", "0"], ["--top", "0"]),
        *(["--rate", "0"], ["--rate", "999999999"], ["--channels", "100000"]),
        ["--top", "100000000"],
    ],
)
def test_numbers_have_limits(flags: list[str]) -> None:
    assert flags[0] in error_line(run("listen", *flags, "--source", "-", ok=False), 2)


def test_letter_case_of_choices_does_not_matter(folder: Path) -> None:
    flags = ("--format", "JSONL", "--backend", "LiteRT", "--model", "Tiny-INT8")
    assert records(run("listen", "--source", folder / "ok.wav", "--top", 1, *flags).stdout)
