"""What `edge-audio listen` reports of a device, and what it should."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from edge_audio.events.detector import Event
from tests.support.command_line import Record, listening, reports
from tests.support.serial_parts import WAIT_S

QUIET = "0 frames lost, 0 damaged, 0 twice, 0 reboots, 0 reconnects"
LOW = ("--threshold", "0.05", "--related", "all")  # many events
Hears = Callable[..., list[Event]]  # (threshold, *only) -> what is to be heard


def rounded(events: list[Event]) -> list[Record]:
    """As JSON lines have them."""
    return [
        {
            "time_s": round(event.time_s, 3),
            "kind": event.kind,
            "label": event.label,
            "score": round(event.score, 4),
        }
        for event in events
    ]


def assert_agree(found: list[Record], expected: list[Event]) -> None:
    """The engine computes in integers what a runtime computes in floats: scores differ a bit, and
    a score that only just reaches its threshold may do so a step earlier or later."""
    for label in {event.label for event in expected} | {x["label"] for x in found}:
        ours = [x for x in found if x["label"] == label]
        theirs = [event for event in expected if event.label == label]
        assert [x["kind"] for x in ours] == [event.kind for event in theirs]
        for x, event in zip(ours, theirs, strict=True):
            assert x["time_s"] == pytest.approx(event.time_s, abs=0.081)
            assert x["score"] == pytest.approx(event.score, abs=0.02)


def starts_of(found: list[Record]) -> list[Record]:
    return [x for x in found if x["kind"] == "start"]


def alternates(found: list[Record]) -> bool:
    """Whether starts and ends of every label take turns."""
    kinds = {x["label"]: "" for x in found}
    for x in found:
        kinds[x["label"]] += x["kind"][0]
    return all(re.fullmatch("(se)+", text) for text in kinds.values())


class Listener:
    """A running `edge-audio listen`; what it writes is collected as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: dict[str, queue.Queue[str]] = {}
        for name in ("stdout", "stderr"):
            self._lines[name] = queue.Queue()
            threading.Thread(target=self._read, args=(name,), daemon=True).start()

    def _read(self, name: str) -> None:
        for line in getattr(self._process, name):
            self._lines[name].put(line)
        self._lines[name].put("")

    def line(self, pipe: str = "stdout") -> str:
        """The next one, which has to come in time; empty at the end."""
        return self._lines[pipe].get(timeout=WAIT_S)

    def wait_for(self, words: str) -> str:
        """The first line of stderr with these words."""
        while words not in (line := self.line("stderr")):
            assert line, f"ended without {words!r}"
        return line

    def finish(self, *signals: signal.Signals) -> tuple[list[Record], str]:
        """Waits for the end (after signals) -> the rest of its records, and of stderr."""
        for each in signals:
            self._process.send_signal(each)
        texts = ["".join(iter(partial(self.line, name), "")) for name in ("stdout", "stderr")]
        assert self._process.wait(WAIT_S) == 0, texts
        return reports(texts[0]), texts[1]


@contextmanager
def heard(port: Path, *options: object) -> Iterator[Listener]:
    """`edge-audio listen` on this port."""
    source = ("--source", f"serial:{port}", "--format", "jsonl")
    with listening(*source, *options) as process:
        yield Listener(process)
