"""Signals at every moment of a listening run: nothing that waits vanishes without a word."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_audio.listening.signals import EarlyReload, StopSignals
from tests.support.command_line import listening
from tests.support.peers import eventually, peer_of
from tests.support.reloading import json_log, logged, running
from tests.support.shipped import clearest

DEMO = 'format = "none"\n[[source]]\nurl = "demo"\n'
HANG_UP_AND_STOP = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("later", [*HANG_UP_AND_STOP, "all"])
def test_signals_while_destinations_close_lose_nothing(
    tmp_path: Path, later: signal.Signals | str
) -> None:
    log, dead = tmp_path / "log.jsonl", tmp_path / "dead"
    over = threading.Event()
    with peer_of(lambda _: bool(over.wait(120)) and None) as port:
        hook = f"[webhook]\nurl = 'http://127.0.0.1:{port}/'\ndead_letter = '{dead}'\n"
        with running(tmp_path, DEMO + clearest(8.0).settings + json_log(log) + hook) as run:
            eventually(lambda: any(r["kind"] == "start" for r in logged(log)))
            run.process.send_signal(signal.SIGTERM)
            eventually(lambda: any(r["kind"] == "end" for r in logged(log)))  # listening is over
            for number in HANG_UP_AND_STOP if later == "all" else (later,):
                time.sleep(0.2)
                run.process.send_signal(number)  # type: ignore[arg-type]
            assert run.process.wait(60) == 0, run.said
        over.set()
    events = [r for r in logged(log) if r["kind"] in ("start", "end")]
    assert logged(dead) == events


def test_a_terminal_that_is_closed_ends_listening_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    clear = clearest(8.0)
    flags = ("--source", "demo", "--json", log, "--format", "none")
    with listening(*flags, "--threshold", f"{clear.label}={clear.on}") as process:
        eventually(lambda: any(r["kind"] == "start" for r in logged(log)))
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
    kinds = [r["kind"] for r in logged(log)]
    assert kinds.count("start") == kinds.count("end")


def test_sighup_before_the_command_is_imported_is_taken_note_of(tmp_path: Path) -> None:
    """A module that is imported by the command, and not before, sends the signal."""
    settings = tmp_path / "home.toml"
    settings.write_text(DEMO)
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('edge_audio.cli.listen', 'edge_audio.listening.run'):\n"
        "            os.kill(os.getpid(), signal.SIGHUP)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.argv = ['edge-audio', 'listen', '--config', {str(settings)!r}]\n"
        "from edge_audio.cli import main\n"
        "main()\n"
    )
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-c", program], stderr=stderr)
    try:
        eventually(lambda: "settings read again" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_sigterm_while_a_source_is_opened_ends_the_process_in_order(tmp_path: Path) -> None:
    """A device that says nothing is waited for."""
    master, slave = pty.openpty()
    settings, log = tmp_path / "home.toml", tmp_path / "stderr"
    settings.write_text(f"format = 'none'\n[[source]]\nurl = 'serial:{os.ttyname(slave)}'\n")
    with log.open("w") as stderr, listening("--config", settings, stderr=stderr) as process:
        assert select.select([master], [], [], 60)[0], log.read_text()  # it is asked who it is
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    os.close(master)
    os.close(slave)
    assert "Traceback" not in log.read_text()


def test_signals_that_are_held_interrupt_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        signals.hold()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        signals.release()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_what_is_ignored_stays_ignored_where_nothing_can_be_reloaded() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with StopSignals(reloadable=True) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.take_reload()
        EarlyReload.watch()
        os.kill(os.getpid(), signal.SIGHUP)
        with StopSignals(reloadable=True) as signals:
            assert signals.take_reload()
            assert not signals.take_reload()
    finally:
        signal.signal(signal.SIGHUP, before)
