"""A pipe that is silent: it can be stopped, and holds up nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np

from edge_audio.sources.kinds import MAX_HEAD_BYTES, kind_of, may_be_a_kind
from edge_audio.sources.pcm import StdinPcm
from tests.support.command_line import listening
from tests.support.peers import eventually


def test_a_silent_pipe_can_be_stopped() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        source = StdinPcm(stream)
        blocks = source.blocks()
        pipe.write(bytes(200))
        assert len(next(blocks).samples) == 100
        threading.Timer(0.1, source.stop).start()
        assert list(blocks) == []  # though the pipe stays open


def test_a_pipe_that_was_stopped_before_any_audio_is_no_error() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb"):
        source = StdinPcm(stream)
        threading.Timer(0.1, source.stop).start()
        assert list(source.blocks()) == []


def test_a_pipe_that_does_not_wait_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        blocks = StdinPcm(stream).blocks()
        pipe.write(bytes(200))
        assert len(next(blocks).samples) == 100
        threading.Timer(0.5, pipe.write, [bytes(400)]).start()
        assert len(next(blocks).samples) == 200
        pipe.close()
        assert list(blocks) == []


def test_silence_that_begins_like_a_file_is_heard_and_what_a_file_is_refused() -> None:
    assert not may_be_a_kind(bytes(2))
    assert kind_of(bytes(MAX_HEAD_BYTES)) is None
    rng = np.random.default_rng(0)
    for _ in range(200):
        pcm = np.cumsum(rng.integers(-40, 41, 4_096)).astype("<i2")
        assert kind_of(pcm.tobytes()) is None


def test_a_silent_pipe_holds_up_neither_settings_nor_the_end(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    text = 'format = "none"\n[[source]]\nurl = "-"\n'
    path.write_text(text)
    with listening("--config", path, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        os.write(process.stdin.fileno(), np.zeros(16_000, "<i2").tobytes())
        log = tmp_path / "log.jsonl"
        eventually(lambda: catches(process.pid, signal.SIGHUP))
        path.write_text(f"{text}[json]\npath = '{log}'\n")
        process.send_signal(signal.SIGHUP)
        assert "settings read again" in process.stderr.readline()  # though no audio comes
        assert log.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60.0) == 0


def catches(pid: int, signal_number: signal.Signals) -> bool:
    """Whether the process would live on after the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (signal_number - 1) & 1)
