"""Settings from a file and from flags: what is wrong is named, and SIGHUP rereads them."""

from __future__ import annotations

import contextlib
import re
import signal
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_audio.errors import UsageError
from edge_audio.listening.config import Config
from edge_audio.listening.settings_file import load_config
from tests.support.command_line import error_line, listening, records, run
from tests.support.peers import eventually
from tests.support.shipped import clearest, unheard
from tests.support.virtual_sound_card import VirtualSoundCard

HOME = """
model = "tiny-int8"
format = "text"
[[source]]
url = "demo"
[events]
only = ["CLEAR", "NEVER"]
thresholds = {CLEAR = 0.03, NEVER = 0.9}
min_off_s = 0.5
[json]
path = "sounds.jsonl"
"""


def written(folder: Path, text: str) -> Path:
    """The settings, of a label that is heard in the demo scene and one that is not."""
    text = text.replace("CLEAR", clearest(20.0).label).replace("NEVER", unheard(20.0))
    path = folder / "home.toml"
    path.write_text(text)
    return path


def test_a_file_of_settings_says_what_is_heard_and_where_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path, HOME.replace("sounds.jsonl", str(tmp_path / "sounds.jsonl")))
    done = run("listen", "--config", path, "--no-realtime", "--duration", 20)
    logged = records((tmp_path / "sounds.jsonl").read_text())
    events = [record for record in logged if record["kind"] in ("start", "end")]
    assert events
    assert {record["label"] for record in events} == {clearest(20.0).label}
    assert {record["stream"] for record in logged} == {"demo"}
    assert len(done.stdout.splitlines()) == len(events)


def test_flags_replace_what_the_file_says(tmp_path: Path) -> None:
    path = written(tmp_path, HOME.replace("sounds.jsonl", str(tmp_path / "sounds.jsonl")))
    flags = ("--format", "none", "--only", unheard(20.0), "--no-realtime", "--duration", 20)
    assert run("listen", "--config", path, *flags).stdout == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modell = 'tiny-int8'", "modell"),
        ("[events]\nthresholds = {Dog = 'high'}", "thresholds"),
        ("[events]\nthresholds = {Dgo = 0.5}", "unknown label"),
        ("[events]\nmin_on_s = -1", "min_on_s"),
        ("[[source]]\nurl = '-'\n[[source]]\nurl = '-'", "heard once"),
        ("[[source]]\nurl = ''", "url"),
        ("backend = 'abacus'", "backend"),
        ("format = ", "home.toml"),
        ("model = 'no-such-model'", "no-such-model"),
    ],
)
def test_wrong_settings_are_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    done = run("listen", "--config", written(tmp_path, text), "--check", ok=False)
    assert words in error_line(done, 2)


def test_right_settings_pass_the_check(tmp_path: Path) -> None:
    assert "fine" in run("listen", "--config", written(tmp_path, HOME), "--check").stdout


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(string.printable, max_size=300).map(str.encode)))
def test_any_bytes_are_settings_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(raw)
    with contextlib.suppress(UsageError):
        assert isinstance(load_config(path), Config)


def test_sighup_reads_the_settings_again_without_stopping(tmp_path: Path) -> None:
    log, other = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    text = HOME.replace("sounds.jsonl", str(log)).replace("path =", "level_every_s = 1\npath =")
    path = written(tmp_path, text)
    text = path.read_text()
    with listening("--config", path, "--format", "none") as process:
        eventually(lambda: log.exists() and log.stat().st_size > 0)
        path.write_text("[events]\nonly = ['No such label']")
        process.send_signal(signal.SIGHUP)
        path.write_text(
            text.replace(str(log), str(other)).replace(f'"{clearest(20.0).label}", ', "")
        )
        process.send_signal(signal.SIGHUP)
        eventually(lambda: other.exists() and other.stat().st_size > 0)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "settings read again" in stderr
    assert "nothing lost" in stderr


def test_a_restarted_sound_server_is_heard_again(virtual_sound_card: VirtualSoundCard) -> None:
    flags = ("--reconnect", "--format", "text", "--top", 1)
    environment = virtual_sound_card.environment
    with listening(*flags, env=environment, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("top" in line for line in lines)
        virtual_sound_card.kill()
        assert any("trying again" in line for line in lines)
        virtual_sound_card.start(rate_hz=44_100, n_channels=2)
        assert any("is open again" in line for line in lines)
        assert any("top" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert re.search(r"load .*, \d+\.\d+ s lost", "".join(lines))
        assert process.wait(timeout=60) == 0
