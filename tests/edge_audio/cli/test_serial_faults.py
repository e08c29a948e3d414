"""`edge-audio listen` and the trouble of a serial line: noticed, told, survived or an error of one
line."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edge_audio.errors import SourceError
from edge_audio.events.detector import Event
from edge_audio.serial.device import SerialDevice
from edge_audio.serial.protocol import Hello
from tests.support.command_line import error_line, reports, run
from tests.support.serial_cable import Cable, Device, faults
from tests.support.serial_parts import WAIT_S
from tests.support.serial_reports import LOW, QUIET, Hears, alternates, heard, rounded, starts_of


@contextmanager
def babbling(cable: Cable, data: bytes) -> Iterator[None]:
    """Something else than a device on the cable, which says the same all the time."""
    ours, theirs = os.pipe()
    cable.attach(ours)
    is_over = threading.Event()

    def babble() -> None:
        while not is_over.wait(0.1):
            os.write(theirs, data)

    thread = threading.Thread(target=babble)
    thread.start()
    yield
    is_over.set()
    thread.join(WAIT_S)
    os.close(theirs)


def test_a_cable_that_is_pulled_out_and_put_back_is_survived(
    cable: Cable,
    device: Callable[[int], Device],
    samples: np.ndarray,
    tagger_hears: Hears,
) -> None:
    device(4)
    with heard(cable.path, *LOW) as process:
        first = process.line()
        cable.unplug()
        assert f"waiting for {cable.path}" in process.wait_for("device gone")
        cable.plug()
        process.wait_for("device back")
        found, stderr = process.finish()
    found = reports(first) + found
    assert alternates(found)
    assert found[-1]["time_s"] == len(samples) / 16_000  # the device went on without us
    assert "0 reboots, 1 reconnects" in stderr
    known = starts_of(rounded(tagger_hears(0.05)))
    starts = starts_of(found)
    assert all(start in known for start in starts)
    assert starts[-1] == known[-1]


def test_a_reboot_amid_a_frame_is_noticed_and_listening_goes_on(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    first_device = device(4)
    with heard(cable.path, *LOW, "--top", 8) as process:
        for _ in range(20):
            process.line()
        cable.alter = lambda data: data[: len(data) // 2]  # half of the last frame comes
        time.sleep(0.1)
        first_device.kill()
        cable.alter = bytes
        second_device = device(4)
        process.wait_for("started anew")
        found, stderr = process.finish()
    second_device.kill()
    assert "1 reboots, 0 reconnects" in stderr
    events = [x for x in found if x["kind"] != "scores"]
    assert {x["kind"] for x in events} == {"start", "end"}
    times_s = [x["time_s"] for x in found if x["kind"] == "scores"]
    assert times_s == sorted(times_s)


def test_a_reboot_whose_hello_is_lost_is_noticed_by_its_clock(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    first_device = device(8)
    with heard(cable.path, *LOW, "--top", 1) as process:
        while reports(process.line())[0]["time_s"] < 6.0:
            pass
        first_device.kill()
        cable.alter = lambda data: b""
        device(8)
        time.sleep(0.1)
        cable.alter = bytes
        process.wait_for("started anew")
        _, stderr = process.finish(signal.SIGINT)
    assert "1 reboots" in stderr


def test_silence_is_told_and_survived(cable: Cable, device: Callable[[int], Device]) -> None:
    paused = device(4)
    with heard(cable.path, *LOW) as process:
        process.line()
        paused.pause()
        process.wait_for("device silent for 3 s")
        paused.go_on()
        process.wait_for("device heard again")
        _, stderr = process.finish()
    assert QUIET in stderr


def test_a_faulty_line_loses_events_but_never_invents_any(
    cable: Cable, device: Callable[[int], Device], tagger_hears: Hears
) -> None:
    device(8)
    with heard(cable.path, *LOW) as process:
        first = process.line()
        cable.alter = faults(0.003)
        found, stderr = process.finish()
    found = reports(first) + found
    assert alternates(found)
    losses = re.search(r"(\d+) frames lost, (\d+) damaged, \d+ twice, 0 reboots", stderr)
    assert losses
    n_lost, n_damaged = map(int, losses.groups())
    assert n_lost > 0
    assert n_damaged > 0
    known = starts_of(rounded(tagger_hears(0.05)))
    starts = starts_of(found)
    assert all(start in known for start in starts)
    assert len(known) - n_lost <= len(starts) <= len(known)


def test_frames_that_come_twice_count_once(
    cable: Cable, device: Callable[[int], Device], tagger_hears: Hears
) -> None:
    device(8)
    rest = b""

    def double(data: bytes) -> bytes:
        nonlocal rest
        *whole, rest = (rest + data).split(b"\0")
        return b"".join((b"\0" + frame + b"\0") * 2 for frame in whole if frame)

    cable.alter = double
    with heard(cable.path, *LOW) as process:
        line = process.line()
        found, stderr = process.finish()
    assert reports(line) + found == rounded(tagger_hears(0.05))
    assert re.search(r"0 frames lost, 0 damaged, [1-9]\d* twice", stderr)


def test_a_line_that_is_faulty_from_the_start_still_gets_through(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    device(4)
    cable.alter = faults(0.002, seed=5)
    with heard(cable.path, *LOW) as process:
        first = process.line()
        found, _ = process.finish()
    assert alternates(reports(first) + found)


def test_a_port_that_says_nothing_is_an_error_of_one_line(cable: Cable) -> None:
    done = run("listen", "--source", f"serial:{cable.path}", ok=False)
    assert f"no answer from {cable.path} at 115200 baud" in error_line(done, 1)


HELLO = Hello(1, 16_000, 1, 1_280, 240, 48, True).frame(0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"booting...\r\n\0", "is not the protocol of edge-audio at 115200 baud"),
        (b"\0" + HELLO.encoded(), "sends but does not answer"),
        (b"\0" + HELLO._replace(version=2).encoded(), "speaks version 2 of the protocol"),
        (b"\0" + HELLO._replace(body=bytes(16)).encoded(), "describes an impossible model"),
    ],
)
def test_what_is_no_device_is_told_apart(cable: Cable, data: bytes, words: str) -> None:
    with babbling(cable, data), pytest.raises(SourceError, match=words):
        SerialDevice(str(cable.path), patience_s=1.0).__enter__()


def test_a_port_that_does_not_exist_is_an_error_that_names_the_others() -> None:
    done = run("listen", "--source", "serial:/dev/ttyNONE", ok=False)
    line = error_line(done, 1)
    assert "cannot open /dev/ttyNONE: no such file or directory; ports here: " in line


def test_a_device_that_stays_silent_or_away_ends_listening(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    paused = device(4)
    with SerialDevice(str(cable.path), patience_s=1.0) as silent:
        silent.start(silent.events.thresholds)
        reports = silent.stream()
        while not isinstance(next(reports), Event):
            pass
        paused.pause()
        with pytest.raises(SourceError, match="has been silent for 1 s"):
            list(reports)
        paused.go_on()
    with SerialDevice(str(cable.path), patience_s=1.0) as away:
        away.start(away.events.thresholds)
        cable.unplug()
        with pytest.raises(SourceError, match="cannot open"):
            list(away.stream())


def test_a_port_in_use_is_an_error_of_one_line(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    device(1)
    with SerialDevice(str(cable.path)):
        done = run("listen", "--source", f"serial:{cable.path}", ok=False)
    assert f"cannot open {cable.path}" in error_line(done, 1)
