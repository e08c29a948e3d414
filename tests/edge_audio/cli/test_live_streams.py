"""The live view of several streams has a row for each."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console

from edge_audio.cli.live.streams import LiveView
from edge_audio.sinks.base import TopLabels
from tests.support.command_line import HANG_S, SAMPLES, listening
from tests.support.live_views import LABELS, RATE_HZ, hear, lines, stream, terminal


def view_of(console: Console, names: list[str]) -> LiveView:
    top = TopLabels(LABELS, 8)
    return LiveView(console, "toy", [top] * len(names), [stream(name) for name in names])


def test_several_streams_have_a_row_each() -> None:
    console = terminal()
    view = view_of(console, ["hall", "yard", "[b]"])
    hear(view.sinks[0], loud=3)
    hear(view.sinks[1], loud=7)
    view.sinks[1].on_notice("camera lost")
    shown = lines(view.render(), console)
    (hall,) = [line for line in shown if " hall " in line]
    (yard,) = [line for line in shown if " yard " in line and "lost" not in line]
    assert "0.90 Label 3" in hall
    assert "start Label 7" in yard
    assert any("[b]" in line for line in shown)
    assert any("yard  0:03.50  camera lost" in line for line in shown)
    for sink in view.sinks:
        sink.close()
    assert console.file.getvalue().count("\x1b[?25h") == 1  # type: ignore[attr-defined]


def test_more_streams_than_rows_are_counted() -> None:
    console = terminal(60, 10)
    view = view_of(console, [f"stream {i}" for i in range(30)])
    shown = lines(view.render(), console)
    assert len(shown) == 10
    assert any("26 more streams" in line for line in shown)
    for sink in view.sinks:
        sink.close()


def read_until(master: int, wanted: str, text: str = "") -> str:
    deadline_s = time.monotonic() + HANG_S
    while wanted not in text:
        assert time.monotonic() < deadline_s, text
        if select.select([master], [], [], 1.0)[0]:
            text += os.read(master, 65536).decode(errors="replace")
    return text


def test_two_sources_share_a_terminal(tmp_path: Path) -> None:
    for name in ("hall", "yard"):
        soundfile.write(tmp_path / f"{name}.wav", np.tile(SAMPLES, 20), RATE_HZ)
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    sources = ("--source", tmp_path / "hall.wav", "--source", tmp_path / "yard.wav")
    with listening(*sources, "--realtime", stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        text = read_until(master, "0:01.")  # it listens
        process.send_signal(signal.SIGINT)
        text = read_until(master, "yard: ", text)
        assert process.wait(HANG_S) == 0
    os.close(master)
    assert "hall" in text
    assert "\x1b[?25h" in text
