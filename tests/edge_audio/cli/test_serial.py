"""`edge-audio listen --source serial:PORT` with a device that runs the C engine and its link."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_audio.events.policy import PolicySpec
from edge_audio.tagging.tagger import Tagger
from tests.support.command_line import Record, error_line, listening, reports, run
from tests.support.serial_cable import Cable, Device
from tests.support.serial_parts import WAIT_S
from tests.support.serial_reports import (
    LOW,
    QUIET,
    Hears,
    alternates,
    assert_agree,
    heard,
    rounded,
    starts_of,
)

DURATION_S = 20.0


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
    assert reports(done.stdout) == expected
    assert done.stderr.startswith(
        f"edge-audio: {len(samples) / 16_000:.1f} s of audio on the device, "
        f"{len(starts_of(expected))} events, {QUIET}; on the device nothing lost, 0 frames "
    )


def test_a_device_that_folds_related_labels_is_not_folded_again(
    cable: Cable, device: Callable[[int], Device], samples: np.ndarray
) -> None:
    """What the tagger reports by the report policy, to the step; all of it where all is wanted."""
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl")
    found = {}
    for related in ("most-specific", "first", "all"):
        done = run(*source, "--threshold", 0.05, "--related", related)
        policy = PolicySpec(related=related)
        tagger = Tagger.open("micro-int8", "native", threshold=0.05, policy=policy)
        found[related] = reports(done.stdout)
        expected = rounded(tagger.push(samples) + tagger.flush())
        assert in_order(found[related]) == in_order(expected)
    assert len(found["most-specific"]) < len(found["all"])
    assert found["first"] != found["most-specific"]


def in_order(found: list[Record]) -> list[Record]:
    return sorted(found, key=lambda row: (row["time_s"], row["label"], row["kind"]))


def test_a_device_reports_what_other_runtimes_hear(
    cable: Cable, device: Callable[[int], Device], samples: np.ndarray
) -> None:
    device(0)
    source = ("--source", f"serial:{cable.path}", "--related", "all")
    done = run("listen", *source, "--format", "jsonl")
    tagger = Tagger.open("micro-int8", backend="litert")
    expected = tagger.push(samples) + tagger.flush()
    assert expected
    assert_agree(reports(done.stdout), expected)


def test_labels_and_thresholds_are_those_of_the_model_or_of_the_user(
    cable: Cable, device: Callable[[int], Device], tagger_hears: Hears
) -> None:
    device(0)
    device_source = ("--source", f"serial:{cable.path}", "--related", "all")
    source = ("listen", *device_source, "--format", "jsonl")
    picked = run(*source, "--threshold", "0.1", "--only", "speech", "--only", "Vehicle")
    assert reports(picked.stdout) == rounded(tagger_hears(0.1, "Speech", "Vehicle"))
    usual = run(*source)  # forgets what the first one set
    assert reports(usual.stdout) == rounded(tagger_hears(None))
    unknown = run(*source, "--only", "Speach", ok=False)
    assert "unknown label 'Speach': did you mean 'Speech'" in error_line(unknown, 2)


def test_top_comes_from_the_device(
    cable: Cable, device: Callable[[int], Device], samples: np.ndarray
) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl", "--top", 3)
    steps = [x for x in reports(run(*source, "--duration", 4).stdout) if x["kind"] == "scores"]
    tagger = Tagger.open("micro-int8")
    expected = [(time_s, scores) for time_s, scores, _ in tagger.steps(samples[:64_000])]
    assert [step["time_s"] for step in steps] == [round(time_s, 3) for time_s, _ in expected]
    for step, (_, scores) in zip(steps, expected, strict=True):
        best = np.sort(scores)[::-1][:3]
        assert [x["score"] for x in step["top"]] == pytest.approx(best.tolist(), abs=0.01)
    without = run(*source, *LOW, "--exclude", "Speech", "--only", "Music", "--only", "Vehicle")
    tops = [x["top"] for x in reports(without.stdout) if x["kind"] == "scores"]
    assert {x["label"] for top in tops for x in top} == {"Music", "Vehicle"}


def test_duration_counts_the_audio_of_the_device(
    cable: Cable, device: Callable[[int], Device], tagger_hears: Hears
) -> None:
    device(0)
    source = ("listen", "--source", f"serial:{cable.path}", "--format", "jsonl", *LOW)
    found = reports(run(*source, "--duration", 7).stdout)
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
    assert alternates(reports(first) + found)
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


def test_without_pyserial_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "serial.py").write_text("raise ImportError")
    done = run("listen", "--source", "serial:/dev/x", ok=False, env={"PYTHONPATH": str(tmp_path)})
    assert "pip install 'edge-audio[serial]'" in error_line(done, 1)


def test_pyserial_is_not_imported_until_a_port_is_opened() -> None:
    code = "import sys, edge_audio.cli.listen; print('serial' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
