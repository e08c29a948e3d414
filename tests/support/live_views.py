"""Live views to test with: a terminal of paper, and what they hear."""

from __future__ import annotations

import io
import re

import numpy as np
from rich.console import Console, RenderableType

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream

LABELS = tuple(f"Label {i}" for i in range(20))
RATE_HZ = 16_000


def terminal(width: int = 100, height: int = 50, color: str | None = "truecolor") -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system=color,  # type: ignore[arg-type]
    )


def stream(name: str = "hall") -> Stream:
    return Stream(name, LABELS, RATE_HZ, live=True)


def hear(sink: Sink, seconds: int = 4, loud: int = 3) -> None:
    """Noise for a while, in which one label scores high every other second."""
    rng = np.random.default_rng(0)
    for i in range(seconds):
        samples = (0.2 * rng.standard_normal(RATE_HZ)).astype(np.float32)
        sink.on_audio(Block(samples, float(i)))
        scores = np.full(len(LABELS), 0.01, np.float32)
        scores[loud] = 0.9 if i % 2 else 0.1
        sink.on_scores(i + 0.5, scores)
    sink.on_event(Event("start", LABELS[loud], seconds - 0.5, 0.9))


def lines(frame: RenderableType, console: Console) -> list[str]:
    paper = terminal(console.width, console.height)
    paper.print(frame)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", paper.file.getvalue())  # type: ignore[attr-defined]
    return text.rstrip("\n").split("\n")
