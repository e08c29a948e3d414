"""--check names everything that a run would lack, each with its line, and leaves all as it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.support.command_line import run

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="names files as Unix does")


def said(folder: Path, text: str, **env: str) -> list[str]:
    """What --check says of settings that cannot work."""
    path = folder / "home.toml"
    path.write_text(text)
    before = sorted(folder.rglob("*"))
    done = run("listen", "--config", path, "--check", ok=False, env=env)
    assert sorted(folder.rglob("*")) == before
    assert done.returncode == 2
    assert done.stdout == ""
    assert all(line.startswith("edge-audio: error: ") for line in done.stderr.splitlines())
    return done.stderr.splitlines()


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").touch(mode=0o600)
    os.mkfifo(tmp_path / "pipe")
    text = f"""\
[[source]]
url = "{tmp_path}/gone.wav"
[[source]]
url = "{tmp_path}"
[json]
path = "{tmp_path}/nowhere/sounds.jsonl"
[mqtt]
username = "ear"
password_env = "EDGE_AUDIO_NO_SUCH_SECRET"
[webhook]
url = "http://localhost/x"
bearer_file = "{tmp_path}/empty"
dead_letter = "{tmp_path}/pipe"
[clips]
folder = "{tmp_path}/empty/clips"
[metrics]
host = "192.0.2.1"
"""
    lines = said(tmp_path, text)
    expected = (
        *(":2: no such file", ":4: ", ":6: cannot write", ":9: there is no secret"),
        *(":12: there is no secret", ":15: cannot record clips", ":17: cannot answer"),
    )
    assert len(lines) == len(expected), lines
    for line, words in zip(lines, expected, strict=True):
        assert f"home.toml{words}" in line


def test_files_hosts_and_backends_are_looked_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    webhook = '[[source]]\nurl = "demo"\n[webhook]\nurl = "http://localhost/x"\n'
    cases = {
        f'{webhook}dead_letter = "{tmp_path}/pipe"': ":5: cannot write",
        f'{webhook}ca_file = "{tmp_path}/gone.pem"': ":5: cannot use the certificates",
        '[mqtt]\nhost = "no.such.host.invalid"': ":2: no address is known",
        '[webhook]\nurl = "http://no.such.host.invalid/x"': ":2: no address is known",
        '[[source]]\nurl = "rtsp://no.such.host.invalid/x"': ":2: no address is known",
        'reconnect = false\n[[source]]\nurl = "serial:/dev/no-such-port"': ":3: there is no serial",
        f'[json]\npath = "{tmp_path}/pipe"': ":2: cannot write",
        f'[json]\npath = "{tmp_path}"': ":2: cannot write",
    }
    for text, words in cases.items():
        (line,) = said(tmp_path, text)
        assert f"home.toml{words}" in line


def test_settings_of_a_run_that_goes_on_are_fine(tmp_path: Path) -> None:
    """Before a reload they are checked while the run has its port and its folder."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "home.toml"
        path.write_text(
            f'[json]\npath = "{tmp_path}/a.jsonl"\n[clips]\nfolder = "{tmp_path}/a/b/clips"\n'
            f'[metrics]\nport = {port}\n[mqtt]\nhost = "mqtt://localhost:1883"\n'
        )
        assert "fine" in run("listen", "--config", path, "--check").stdout
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_device_alone_takes_no_model() -> None:
    for flag, value in (("--model", "tiny-int8"), ("--backend", "onnx"), ("--realtime", None)):
        flags = (flag,) if value is None else (flag, value)
        done = run("listen", "--source", "serial:/dev/x", *flags, "--check", ok=False)
        assert done.returncode == 2
        assert f"{flag} belongs to" in done.stderr
