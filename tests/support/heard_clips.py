"""Clips of events, as the recorder leaves them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import soundfile

from edge_audio.sinks.clips.sidecar import ClipEvent, Sidecar
from edge_audio.support.arrays import FloatArray
from tests.support.taught import RATE_HZ


def write_clip(folder: Path, event_id: int, samples: FloatArray, label: str = "Dog") -> None:
    """folder: of the clips. The clip of one event, of a recording."""
    day = folder / "kitchen" / "undated"
    day.mkdir(parents=True, exist_ok=True)
    path = day / f"t{len(list(day.iterdir()))}-{label}.flac"
    length_s = len(samples) / RATE_HZ
    events = (ClipEvent(label, 0.5, 1.0, 0.9, event_id),)
    sidecar = Sidecar(time_s=0.5, label=label, start_s=0.0, end_s=length_s, events=events)
    path.with_suffix(".json").write_bytes(msgspec.json.encode(sidecar))
    soundfile.write(path, samples, RATE_HZ)
