"""Audio, events and settings for the tests of clips, and what a folder of clips holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream

RATE_HZ = 16_000
BLOCK = 1_280
LABELS = ("Siren", "Dog", "Speech")
PCM = np.random.default_rng(0).integers(-20_000, 20_000, 20 * RATE_HZ).astype(np.int16)
Sidecar = dict[str, Any]
Told = tuple[float, Event]  # when the event is told, and the event


def stream(name: str = "kitchen", live: bool = False, labels: Sequence[str] = LABELS) -> Stream:
    return Stream(name=name, labels=labels, sample_rate_hz=RATE_HZ, live=live)


def config(folder: Path, **changes: Any) -> ClipsConfig:
    return ClipsConfig(**{"folder": str(folder), "record": True, **changes})


def sounds(label: str, start_s: float, end_s: float, late_s: float = 0.2) -> list[Told]:
    """An event that is told late_s after it began and after it ended."""
    start, end = Event("start", label, start_s, 0.5), Event("end", label, end_s, 0.75)
    return [(start_s + late_s, start), (end_s + late_s, end)]


def blocks(pcm: NDArray[np.int16], n_block: int = BLOCK, start: int = 0) -> Iterator[Block]:
    for i in range(0, len(pcm), n_block):
        samples = pcm[i : i + n_block].astype(np.float32) / np.float32(32_768)
        yield Block(samples, (start + i) / RATE_HZ)


def hear(sink: Sink, heard: Iterator[Block], *told: Told) -> None:
    """Blocks, each followed by the events that it completes, as from a listener."""
    waiting = sorted(told, key=lambda pair: pair[0])
    for block in heard:
        sink.on_audio(block)
        end_s = block.time_s + len(block.samples) / RATE_HZ
        while waiting and waiting[0][0] <= end_s:
            sink.on_event(waiting.pop(0)[1])


def record(settings: ClipsConfig, *told: Told, n_block: int = BLOCK, live: bool = False) -> None:
    """One run over PCM."""
    destination = ClipsDestination(settings)
    sink = destination.open(stream(live=live))
    hear(sink, blocks(PCM, n_block), *told)
    sink.close()
    destination.close()
    assert destination.problem == ""


def found(folder: Path) -> list[tuple[NDArray[np.int16], Sidecar]]:
    """Audio and sidecar of each clip, by start; nothing else may be visible."""
    clips = []
    for path in folder.rglob("*.flac"):
        pcm, rate_hz = soundfile.read(path, dtype="int16")
        assert rate_hz == RATE_HZ
        clips.append((pcm, json.loads(path.with_suffix(".json").read_text())))
    return sorted(clips, key=lambda clip: clip[1]["start_s"])


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


def part(start_s: float, end_s: float) -> NDArray[np.int16]:
    return PCM[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
