"""`edge-audio listen --source serial:PORT` with a device that runs the C engine and its link."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_audio.bundle.store import load_bundle
from edge_audio.errors import SourceError
from edge_audio.events.choice import select_events
from edge_audio.events.detector import Event
from edge_audio.serial.device import SerialDevice
from edge_audio.serial.protocol import Hello
from edge_audio.tagging.tagger import Tagger
from tests.support.command_line import error_line, listening, records, run
from tests.support.serial_parts import (
    WAIT_S,
    Cable,
    Device,
    alternates,
    assert_agree,
    faults,
    heard,
    rounded,
    starts_of,
)

BUNDLE = load_bundle("micro-int8")
LABELS = BUNDLE.manifest.labels
DURATION_S = 20.0
QUIET = "0 frames lost, 0 damaged, 0 twice, 0 reboots, 0 reconnects"
Hears = Callable[..., list[Event]]
LOW = ("--threshold", "0.05")  # many events


@pytest.fixture(scope="session")
def tagger_hears(samples: np.ndarray, program: Path) -> Hears:
    """What the tagger of this package reports with the same engine, given --threshold and --only.
    (The program is asked for because both need a compiler.)"""

    def hear(threshold: float | None, *only: str) -> list[Event]:
        spec = select_events(BUNDLE.manifest.events, LABELS, only, (), threshold)
        tagger = Tagger.open("micro-int8", backend="native", events=spec)
        return tagger.push(samples) + tagger.flush()

    return hear


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


def test_a_device_reports_what_the_tagger_hears(
    cable: Cable,
    device: Callable[[int], Device],
    samples: np.ndarray,
    tagger_hears: Hears,
) -> None:
    device(0)
    done = run("listen", "--source", f"serial:{cable.path}", "--format", "jsonl", *LOW)
    expected = rounded(tagger_hears(0.05))
    assert len(expected) > 20
    assert records(done.stdout) == expected
    assert done.stderr.startswith(
        f"edge-audio: {len(samples) / 16_000:.1f} s of audio on the device, "
        f"{len(starts_of(expected))} events, {QUIET}; on the device nothing lost, 0 frames "
    )


def test_a_device_reports_what_other_runtimes_hear(
    cable: Cable, device: Callable[[int], Device], samples: np.ndarray
) -> None:
    device(0)
    done = run("listen", "--source", f"serial:{cable.path}", "--format", "jsonl")
    tagger = Tagger.open("micro-int8", backend="litert")
    expected = tagger.push(samples) + tagger.flush()
    assert expected
    assert_agree(records(done.stdout), expected)


def test_labels_and_thresholds_are_those_of_the_model_or_of_the_user(
    cable: Cable, device: Callable[[int], Device], tagger_hears: Hears
) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl")
    picked = run(*source, "--threshold", "0.1", "--only", "speech", "--only", "Vehicle")
    assert records(picked.stdout) == rounded(tagger_hears(0.1, "Speech", "Vehicle"))
    usual = run(*source)  # forgets what the first one set
    assert records(usual.stdout) == rounded(tagger_hears(None))
    unknown = run(*source, "--only", "Speach", ok=False)
    assert "unknown label 'Speach': did you mean 'Speech'" in error_line(unknown, 2)


def test_top_comes_from_the_device(
    cable: Cable, device: Callable[[int], Device], samples: np.ndarray
) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl", "--top", 3)
    steps = [x for x in records(run(*source, "--duration", 4).stdout) if x["kind"] == "scores"]
    tagger = Tagger.open("micro-int8")
    expected = [(time_s, scores) for time_s, scores, _ in tagger.steps(samples[:64_000])]
    assert [step["time_s"] for step in steps] == [round(time_s, 3) for time_s, _ in expected]
    for step, (_, scores) in zip(steps, expected, strict=True):
        best = np.sort(scores)[::-1][:3]
        assert [x["score"] for x in step["top"]] == pytest.approx(best.tolist(), abs=0.01)
    without = run(*source, *LOW, "--exclude", "Speech", "--only", "Music", "--only", "Vehicle")
    tops = [x["top"] for x in records(without.stdout) if x["kind"] == "scores"]
    assert {x["label"] for top in tops for x in top} == {"Music", "Vehicle"}


def test_duration_counts_the_audio_of_the_device(
    cable: Cable, device: Callable[[int], Device], tagger_hears: Hears
) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl", *LOW)
    found = records(run(*source, "--duration", 7).stdout)
    assert alternates(found)
    assert max(x["time_s"] for x in found) <= 7.0
    expected = [x for x in starts_of(rounded(tagger_hears(0.05))) if x["time_s"] <= 6.5]
    assert starts_of(found)[: len(expected)] == expected


def test_a_signal_ends_listening_with_ends_and_a_summary(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    device(4)
    with heard(cable.path, *LOW) as process:
        first = process.line()
        found, stderr = process.finish(signal.SIGINT)
    assert alternates(records(first) + found)
    assert QUIET in stderr
    assert len(stderr.splitlines()) == 1


def test_text_is_written_as_for_any_source(cable: Cable, device: Callable[[int], Device]) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "text", *LOW)
    lines = run(*source).stdout.splitlines()
    pattern = re.compile(r" *\d+:\d\d\.\d\d  (start|end  )  \S.*  [01]\.\d\d")
    assert lines
    assert all(pattern.fullmatch(line) for line in lines)


def test_the_live_view_shows_labels_and_the_state_of_the_line(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    device(4)
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    source = ("--source", f"serial:{cable.path}", "--only", "Speech", "--threshold", "0.05")
    with listening(*source, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        screen = read_terminal(master, until="Speech")
        cable.unplug()
        screen += read_terminal(master, until="device gone")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    os.close(master)
    frame = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    for part in ("edge-audio on", "0 frames lost", "Speech"):
        assert part in frame


def read_terminal(master: int, until: str) -> str:
    text = ""
    deadline_s = time.monotonic() + WAIT_S
    while until not in text:
        assert time.monotonic() < deadline_s, text
        if select.select([master], [], [], 1.0)[0]:
            text += os.read(master, 65_536).decode(errors="replace")
    return text


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
    found = records(first) + found
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
        while records(process.line())[0]["time_s"] < 6.0:
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
    found = records(first) + found
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
    assert records(line) + found == rounded(tagger_hears(0.05))
    assert re.search(r"0 frames lost, 0 damaged, [1-9]\d* twice", stderr)


def test_a_line_that_is_faulty_from_the_start_still_gets_through(
    cable: Cable, device: Callable[[int], Device]
) -> None:
    device(4)
    cable.alter = faults(0.002, seed=5)
    with heard(cable.path, *LOW) as process:
        first = process.line()
        found, _ = process.finish()
    assert alternates(records(first) + found)


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--source", "serial:"), "serial:PORT[@BAUD]"),
        (("--source", "serial:/dev/x", "--device", "0"), "belongs to the microphone"),
        (("--source", "serial:/dev/x", "--rate", "8000"), "belong to raw PCM"),
        (("--source", "serial:/dev/x", "--realtime"), "belongs to files and the demo scene"),
        (("--source", "serial:/dev/x", "--explain", "Dog"), "does not send"),
    ],
)
def test_options_of_other_sources_are_refused(options: tuple[str, ...], words: str) -> None:
    assert words in error_line(run("listen", *options, ok=False), 2)


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


def test_without_pyserial_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "serial.py").write_text("raise ImportError")
    done = run("listen", "--source", "serial:/dev/x", ok=False, env={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'edge-audio[serial]'" in error_line(done, 1)


def test_pyserial_is_not_imported_until_a_port_is_opened() -> None:
    code = "import sys, edge_audio.cli.listen; print('serial' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
