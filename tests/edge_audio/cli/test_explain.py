"""`--explain`: what it says of a label is what the event detector does with it."""

from __future__ import annotations

import io
import math
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

import msgspec
import numpy as np
import pytest
from rich.console import Console

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.cli.live.braille import Braille
from edge_audio.cli.live.explain import Explained, ExplainSink, ExplainView
from edge_audio.events.detector import Event, EventDetector
from tests.support import toy
from tests.support.command_line import HANG_S, error_line, listening, records, run
from tests.support.shipped import clearest


def threshold(on: float, off: float) -> Threshold:
    return msgspec.structs.replace(toy.EVENTS.thresholds["Band 0"], on=on, off=off)


STEP_S = 0.08
LABELS = ("Speech", "Dog", "Siren")
SPEC = EventSpec(
    smoothing_s=0.0,
    min_on_s=0.16,
    min_off_s=0.4,
    thresholds={"Dog": threshold(0.6, 0.4), "Speech": threshold(0.5, 0.3)},
)
DEMO = ("--source", "demo", "--no-realtime", "--duration", 12)


def feed(
    sink: ExplainSink | ExplainView, dog_scores: Iterable[float], spec: EventSpec = SPEC
) -> None:
    """Pushes scores of Dog, a step each, with the events and the state of a real detector."""
    detector = EventDetector(LABELS, spec, STEP_S, LABELS)
    sink.read(detector.state)
    for i, score in enumerate(dog_scores, 1):
        scores = np.array([0.0, score, 0.9], np.float32)
        for event in detector.push(scores, i * STEP_S):
            sink.on_event(event)
        sink.on_scores(i * STEP_S, scores)


def lines(dog_scores: Iterable[float], spec: EventSpec = SPEC, *labels: str) -> list[str]:
    stream = io.StringIO()
    sink = ExplainSink(stream, LABELS, Explained(labels or ("Dog",), STEP_S))
    feed(sink, dog_scores, spec)
    sink.close()
    return stream.getvalue().splitlines()


def why(line: str) -> str:
    return line.rpartition("  ")[2]


def test_every_second_has_its_highest_score_and_the_thresholds() -> None:
    quiet = [0.1] * 40
    quiet[20] = 0.31
    expected = [(0.96, 0.1), (1.92, 0.31), (2.96, 0.1), (3.2, 0.1)]
    assert lines(quiet) == [
        f"   0:{time_s:05.2f}  why    Dog  score {score:.2f}  smoothed {score:.2f}  "
        f"on 0.60  off 0.40  quiet: {score:.2f} < on 0.60"
        for time_s, score in expected
    ]


def test_a_peak_that_is_too_short_says_how_long_it_was() -> None:
    (line,) = lines([0.1, 0.1, 0.7, 0.7, 0.1])
    assert why(line) == "quiet: above on for 0.08 of 0.16 s"


def test_a_score_that_smoothing_kept_below_on_says_so() -> None:
    smooth = msgspec.structs.replace(SPEC, smoothing_s=0.5)
    (line,) = lines([0.1, 0.1, 0.9, 0.1], smooth)
    assert why(line) == "quiet: too short: 0.16 < on 0.60"


def test_an_event_says_what_would_end_it() -> None:
    on, falling, over = lines([0.9] * 12 + [0.1] * 3 + [0.35] + [0.9] * 6 + [0.2] * 5 + [0.2] * 6)
    assert why(on) == "event: until below off 0.40"
    assert why(falling) == "event: 0.20 < off 0.40 for 0.08 of 0.40 s"
    assert why(over) == "quiet: the event ended"


def test_a_label_without_a_threshold_is_said_to_be_off() -> None:
    (line,) = lines([0.1], SPEC, "Siren")
    assert "on " not in line.partition("why")[2].partition("off:")[0]
    assert why(line).startswith("off: not watched")


def test_a_label_without_a_threshold_is_smoothed_as_others_are() -> None:
    smooth = msgspec.structs.replace(SPEC, smoothing_s=0.5)
    (line,) = lines([0.1] * 3, smooth, "Siren")
    factor = math.exp(-STEP_S / 0.5)
    assert f"score 0.90  smoothed {0.9 * (1 - factor**3):.2f}  off:" in line


def test_an_event_that_was_not_passed_on_is_held_back() -> None:
    stream = io.StringIO()
    sink = ExplainSink(stream, LABELS, Explained(("Dog",), STEP_S))
    detector = EventDetector(LABELS, SPEC, STEP_S)
    sink.read(detector.state)
    for i in range(1, 10):
        scores = np.full(3, 0.9, np.float32)
        detector.push(scores, i * STEP_S)
        sink.on_scores(i * STEP_S, scores)
    sink.close()
    assert why(stream.getvalue().rstrip()).startswith("held back: by cooldown")


def test_a_related_label_that_is_reported_meanwhile_is_named() -> None:
    """Whose event covers this one by default."""
    stream = io.StringIO()
    sink = ExplainSink(stream, LABELS, Explained(("Dog",), STEP_S))
    detector = EventDetector(LABELS, SPEC, STEP_S)
    sink.read(detector.state)
    for label in ("Bark", "Siren"):  # of which a Siren covers no Dog
        sink.on_event(Event("start", label, STEP_S, 0.9))
    for i in range(1, 26):
        scores = np.full(3, 0.9, np.float32)
        detector.push(scores, i * STEP_S)
        if i == 13:
            sink.on_event(Event("end", "Bark", i * STEP_S, 0.9))
        sink.on_scores(i * STEP_S, scores)
    sink.close()
    first, *_, last = stream.getvalue().splitlines()
    assert why(first).endswith("or a related label (Bark)")
    assert why(last).endswith("or a related label")


def screen(height: int, width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height)


@pytest.mark.parametrize(("height", "n_charts"), [(40, 2), (16, 1), (4, 1)])
def test_charts_fit_into_the_terminal(height: int, n_charts: int) -> None:
    console = screen(height)
    view = ExplainView(console, "toy", LABELS, Explained(("Dog", "Speech"), STEP_S))
    feed(view, [0.1] * 100 + [0.8] * 100)
    paper = screen(height)
    paper.print(view.render())
    view.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", paper.file.getvalue())  # type: ignore[attr-defined]
    rows = text.rstrip("\n").split("\n")
    assert {len(row) for row in rows} == {80}
    assert len(rows) <= max(height, 13)
    assert text.count("last 30 s") == n_charts
    assert "Dog  event: until below off 0.40" in text
    assert "score 0.80  smoothed 0.80  on 0.60  off 0.40" in text


def test_a_curve_rises_where_its_values_do() -> None:
    canvas = Braille(10, 2)
    canvas.curve([0.0, 0.49, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0], "green")
    top, bottom = (row.plain for row in canvas.rows())
    assert top[:4] == bottom[-4:] == "\u2800" * 4
    assert "\u2800" not in bottom[:5] + top[5:]


# On the command line


def test_standard_output_stays_what_it_was_where_programs_read_it() -> None:
    label, on = clearest(12.0)
    plain = run("listen", *DEMO, "--format", "jsonl", "--top", 1)
    traced = run("listen", *DEMO, "--format", "jsonl", "--top", 1, "--explain", label.lower())
    assert records(traced.stdout) == records(plain.stdout)
    *told, summary = traced.stderr.splitlines()
    assert len(told) == 12
    assert all(f"  why    {label}  score " in line for line in told)
    assert "12.0 s of audio" in summary
    sensitive = ("--threshold", f"{label}={on}", "--related", "all")
    twice = ("--explain", label, "--explain", label.lower())
    text = run("listen", *DEMO, *sensitive, "--format", "text", *twice)
    assert text.stdout.count(f"  why    {label}  ") == 12
    assert re.search(rf"start  {label} .*", text.stdout)
    assert re.search(rf"why    {label} .*event: until below off", text.stdout)


def test_a_label_that_the_model_lacks_is_wrong_usage() -> None:
    done = run("listen", *DEMO, "--explain", "Dgo", ok=False)
    assert "'Dog'" in error_line(done, 2)
    done = run("listen", "--source", "serial:/dev/null", "--explain", "Dog", ok=False)
    assert "serial" in error_line(done, 2)


def test_changed_thresholds_are_explained_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    path.write_text("format = 'text'\n[[source]]\nurl = '-'\n[events.thresholds]\nDog = 0.5\n")
    second = bytes(32_000)
    with listening(
        "--config", path, "--explain", "Dog", stdin=subprocess.PIPE, text=False
    ) as process:
        stdin = cast("IO[bytes]", process.stdin)
        stdout = cast("IO[bytes]", process.stdout)
        stdin.write(second)
        is_changed = False
        for _ in range(60):
            stdin.write(second)
            stdin.flush()
            line = stdout.readline().decode()
            if not is_changed:
                assert "on 0.50" in line
                path.write_text(path.read_text().replace("0.5", "0.25"))
                process.send_signal(signal.SIGHUP)
                is_changed = True
            if "on 0.25" in line:
                break
        assert "quiet: 0.0" in line
        assert line.rstrip().endswith("< on 0.25")


def test_a_terminal_gets_a_chart() -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    with listening(
        "--source", "demo", "--explain", "Alarm", stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        text, deadline_s = "", time.monotonic() + HANG_S
        while "last 30 s" not in text:
            assert time.monotonic() < deadline_s, text
            if select.select([master], [], [], 1.0)[0]:
                text += os.read(master, 65536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        while "nothing lost" not in text:
            assert time.monotonic() < deadline_s, text
            if select.select([master], [], [], 1.0)[0]:
                text += os.read(master, 65536).decode(errors="replace")
        assert process.wait(HANG_S) == 0
    os.close(master)
    assert "edge-audio tiny-int8 on demo" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search("[\u2801-\u28ff]", text)
    assert "\x1b[?25h" in text  # the cursor is back
