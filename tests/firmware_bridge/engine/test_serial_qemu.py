"""The engine and its link on an emulated Cortex-M4, whose UART `edge-audio listen` listens to."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge_audio.events.choice import select_events
from edge_audio.tagging.tagger import Tagger
from firmware_bridge.folder.codegen import Firmware
from tests.firmware_bridge.firmware_runs import Make, open_sensitive, require_emulator
from tests.support.command_line import Record, reports, run
from tests.support.serial_cable import Cable, faults
from tests.support.serial_parts import WAIT_S, LinkProbe, build_library
from tests.support.serial_reports import alternates, assert_agree, heard, rounded, starts_of

MODEL, TARGET, BOARD = "micro-int8", "cortex-m4", "mps2-an386"
DURATION_S = 20.0
LOW = ("--threshold", "0.02")  # many events
QUIET = "0 frames lost, 0 damaged, 0 twice, 0 reboots, 0 reconnects"


@pytest.fixture(scope="session")
def firmware(make: Make) -> Firmware:
    require_emulator(TARGET)
    return make(MODEL, TARGET)


@pytest.fixture(scope="session")
def program(firmware: Firmware) -> Path:
    (found,) = (path for path in firmware.programs if path.name == "serial.elf")
    return found


@pytest.fixture(scope="session")
def samples(recording: np.ndarray) -> np.ndarray:
    return recording[: round(DURATION_S * 16_000)]


@pytest.fixture(scope="session")
def sound(samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "street.pcm"
    path.write_bytes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def expected(
    firmware: Firmware, samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> list[Record]:
    """What the engine hears on this machine."""
    library = build_library(tmp_path_factory.mktemp("engine") / "link.so")
    probe = LinkProbe(library, firmware.image, len(firmware.labels))
    return rounded(probe.hear(open_sensitive(MODEL), firmware.labels, samples, 0.02))


@dataclass
class Board:
    """An emulated board; `port` is its UART."""

    process: subprocess.Popen[str]
    port: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)


@pytest.fixture
def board(program: Path, sound: Path) -> Iterator[Callable[[int], Board]]:
    """Starts a board that plays the recording so many times faster than real time."""
    boards: list[Board] = []

    def start(speed: int = 0) -> Board:
        given = "".join(f",arg={text}" for text in ("serial", sound, speed))
        command = ["qemu-system-arm", "-M", BOARD, "-nographic", "-monitor", "none"]
        command += ["-serial", "pty", "-kernel", str(program)]
        command += ["-semihosting-config", f"enable=on,target=native{given}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        boards.append(Board(process, Path(pty_of(process))))
        return boards[-1]

    yield start
    for each in boards:
        each.kill()


def pty_of(process: subprocess.Popen[str]) -> str:
    """As QEMU says in its first line."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], WAIT_S)[0]
    found = re.search(r"redirected to (\S+)", process.stdout.readline())
    assert found
    return found[1]


def wire(board: Board, cable: Cable) -> None:
    """Leads the board's UART through a cable of ours."""
    end = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(end)
    cable.attach(end)


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    cable = Cable(tmp_path / "port")
    cable.plug()
    yield cable
    cable.close()


def test_a_cortex_m4_reports_the_events_of_the_engine(
    board: Callable[[int], Board], expected: list[Record]
) -> None:
    assert len(expected) > 10
    done = run("listen", "--source", f"serial:{board(0).port}", "--format", "jsonl", *LOW)
    assert reports(done.stdout) == expected
    assert f"{len(starts_of(expected))} events, {QUIET}" in done.stderr


def test_a_cortex_m4_reports_what_the_tagger_of_this_package_hears(
    board: Callable[[int], Board], firmware: Firmware, samples: np.ndarray
) -> None:
    done = run("listen", "--source", f"serial:{board(0).port}", "--format", "jsonl")
    bundle = open_sensitive(MODEL)
    spec = select_events(bundle.manifest.events, bundle.manifest.labels, firmware.labels)
    tagger = Tagger.open(MODEL, events=spec)
    expected = tagger.push(samples) + tagger.flush()
    assert expected
    assert_agree(reports(done.stdout), expected)


def test_a_board_that_restarts_amid_a_frame_is_heard_again(
    board: Callable[[int], Board], cable: Cable, expected: list[Record]
) -> None:
    first = board(2)
    wire(first, cable)
    with heard(cable.path, *LOW, "--top", 8) as process:
        before = reports("".join(process.line() for _ in range(20)))
        cable.alter = lambda data: data[: len(data) // 2]  # half of the last frame comes
        time.sleep(0.1)
        first.kill()
        cable.alter = bytes
        wire(board(8), cable)
        process.wait_for("device started anew")
        found, stderr = process.finish()
    events = [x for x in before + found if x["kind"] != "scores"]
    assert alternates(events)
    assert "1 reboots, 0 reconnects" in stderr
    labels = [x["label"] for x in starts_of(events)]
    assert labels[-1] == starts_of(expected)[-1]["label"]  # the second one was heard to its end


def test_a_faulty_line_from_a_board_loses_events_but_never_invents_any(
    board: Callable[[int], Board], cable: Cable, expected: list[Record]
) -> None:
    wire(board(4), cable)
    with heard(cable.path, *LOW) as process:
        first = process.line()
        cable.alter = faults(0.01)
        found, stderr = process.finish()
    found = reports(first) + found
    assert alternates(found)
    losses = re.search(r"(\d+) frames lost, (\d+) damaged, \d+ twice, 0 reboots", stderr)
    assert losses
    assert int(losses[1]) > 0
    assert int(losses[2]) > 0
    assert all(start in expected for start in starts_of(found))
    assert len(starts_of(found)) >= len(starts_of(expected)) - int(losses[1])
