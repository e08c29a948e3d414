"""Events and scores as JSON lines."""

from __future__ import annotations

import json
from typing import TextIO

from edge_audio.events import Event
from edge_audio.frontend import FloatArray
from edge_audio.sinks.base import Sink, TopLabels, scored


class JsonLinesSink(Sink):
    """One JSON object per line, flushed at once:
    {"time_s": 1.2, "kind": "start" | "end", "label": "Siren", "score": 0.83} and, if n_top > 0,
    {"time_s": 1.2, "kind": "scores", "top": [{"label": "Siren", "score": 0.83}, ...]} per step.
    """

    def __init__(self, stream: TextIO, top: TopLabels) -> None:
        self._stream = stream
        self._top = top

    def on_event(self, event: Event) -> None:
        self._write(event.time_s, kind=event.kind, **scored(event.label, event.score))

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        if self._top.n_top:
            top = [scored(label, score) for label, score in self._top(scores)]
            self._write(time_s, kind="scores", top=top)

    def close(self) -> None:
        self._stream.flush()

    def _write(self, time_s: float, **fields: object) -> None:
        record = {"time_s": round(time_s, 3), **fields}
        self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._stream.flush()
