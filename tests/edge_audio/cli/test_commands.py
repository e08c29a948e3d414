"""What holds for every command: what to install for it, and where its remarks go."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from rich.table import Table

from edge_audio.cli import EXTRAS, Entry, LazyGroup, cli, missing_module
from edge_audio.cli import progress as progress_module
from edge_audio.cli.console import plain_console, remark
from edge_audio.cli.progress import ProgressBar
from tests.support.command_line import COMMAND, run
from tests.support.paths import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("edge_audio", "distill", "quantize", "firmware_bridge")
SIBLINGS = PROJECT["entry-points"]["edge_audio.commands"]
assert isinstance(cli, LazyGroup)
COMMANDS = {**cli.found, **{name: Entry(name, *v.split(":")) for name, v in SIBLINGS.items()}}


def hint(command: str, module: str) -> str:
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    return str(missing_module(COMMANDS[command], error))


def extras_in(text: str) -> list[str]:
    found = re.search(r"pip install 'edge-audio\[([\w,-]+)\]'", text)
    assert found, text
    return found[1].split(",")


@pytest.mark.parametrize("command", sorted(SIBLINGS))
def test_every_command_of_a_sibling_says_which_extras_bring_what_it_lacks(command: str) -> None:
    assert set(extras_in(hint(command, "torch"))) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_what_is_no_number_is_refused_by_every_option_that_takes_one(command: str) -> None:
    waiting = [COMMANDS[command].load()]
    while waiting:
        one = waiting.pop()
        waiting += getattr(one, "commands", {}).values()
        for option in one.params:
            if isinstance(option.type, click.FloatRange):
                with pytest.raises(click.BadParameter):
                    option.type("nan", option)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_says_what_to_install_or_that_the_installation_is_broken(
    command: str,
) -> None:
    text = hint(command, "soxr.module")  # which edge-audio always needs
    assert text.startswith(f"{command} needs the module 'soxr.module': ")
    if command in SIBLINGS:
        assert extras_in(text)
    else:
        assert text.endswith("reinstall edge-audio")
        assert "plot" in extras_in(hint(command, "matplotlib.figure"))


def test_calibrate_names_its_extra() -> None:
    assert extras_in(hint("calibrate", "torch")) == ["train"]


def test_every_entry_that_names_extras_belongs_to_a_command_that_is_there() -> None:
    packages = {value.partition(".")[0] for value in SIBLINGS.values()}
    assert set(EXTRAS) <= packages | set(SIBLINGS.values())


def test_every_hint_in_the_source_names_an_extra_that_there_is() -> None:
    files = (p for package in PACKAGES for p in (REPOSITORY / package).rglob("*.py"))
    hints = [hint for p in files for hint in re.findall(r"edge-audio\[([\w,-]+)\]", p.read_text())]
    assert len(hints) > 10
    named = {extra for hint in hints for extra in hint.split(",")}
    assert named <= set(PROJECT["optional-dependencies"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_standard_error_and_takes_no_text_for_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    for total in (2.0, None):
        with ProgressBar("reading [bold]:dog:", total) as bar:
            bar.describe("tagging [bold]:dog:\n")
            bar.advance(1.0, "[red]fast")
            bar.print("error: [bold]a\x1b[2Jb.wav")
    drawn = stderr.getvalue()
    for text in ("tagging [bold]:dog:\\n", "[red]fast", "error: [bold]a\\x1b[2Jb.wav"):
        assert text in drawn
    assert capsys.readouterr().out == ""


def test_where_nobody_watches_nothing_is_drawn_but_errors_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressBar("tagging", total=3.0) as bar:
        bar.advance()
        bar.print("error: it fails")
    assert capsys.readouterr() == ("", "error: it fails\n")


def test_a_bar_that_is_not_wanted_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())
    with ProgressBar("tagging", total=3.0, is_wanted=False) as bar:
        bar.advance()
    assert stderr.getvalue() == ""


def test_cells_and_remarks_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[bold]name", box=None)
    table.add_row("pip install 'edge-audio[onnx]' :dog:")
    plain_console().print(table)
    remark("no [bold]\x1b]0;title\x07")
    out, err = capsys.readouterr()
    assert "[bold]name" in out
    assert "pip install 'edge-audio[onnx]' :dog:" in out
    assert err == "edge-audio: no [bold]\\x1b]0;title\\x07\n"


def test_only_one_module_makes_progress_bars() -> None:
    package = REPOSITORY / "edge_audio"
    users = {p.name for p in package.rglob("*.py") if "rich.progress " in p.read_text()}
    assert users == {progress_module.__file__.rpartition("/")[2]}


@pytest.mark.parametrize("format_name", ["text", "jsonl", "none"])
def test_a_recording_with_a_hostile_name_is_listened_to_without_harm(
    tmp_path: Path, format_name: str
) -> None:
    names = ("a\x1b[2J\n[bold]\x9b.wav", "b\x1b]0;x\x07.wav")
    sources: list[object] = []
    for name in names:
        soundfile.write(tmp_path / name, np.zeros(16_000, np.int16), 16_000)
        sources += ["--source", tmp_path / name]
    options = ("--format", format_name, "--top", 1, "--explain", "Dog", "--model", "tiny-int8")
    done = run("listen", *sources, *options)
    if format_name == "text":
        assert r"a\x1b[2J\n[bold]\x9b" in done.stdout
    gone = run("listen", "--source", tmp_path / f"gone{names[0]}", ok=False)
    for output in (done.stdout, done.stderr, gone.stderr):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", output)
    assert gone.stderr.count("\n") == 1


def test_the_live_view_shows_a_hostile_name_and_does_not_send_it(tmp_path: Path) -> None:
    path = tmp_path / "b\x1b]0;owned\x07.wav"
    soundfile.write(path, np.zeros(16_000, np.int16), 16_000)
    terminal, screen = os.openpty()
    command = [*COMMAND, "listen", "--source", path.name, "--model", "tiny-int8"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    streams: dict[str, Any] = {"stdout": screen, "stderr": screen, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **streams) as process:
        os.close(screen)
        drawn = b"".join(iter(partial(read, terminal), b""))
    assert process.returncode == 0, drawn
    assert b"\\x1b]0;owned\\x07.wav" in drawn
    assert b"\x1b]0;owned" not in drawn


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux: nobody holds the other end any more
        return b""
