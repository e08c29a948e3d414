"""What sinks write is complete, parseable and true to what they were told."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.sinks.console import ConsoleSink
from edge_audio.sinks.jsonl import JsonLinesSink
from edge_audio.sinks.segments import Segment, SegmentSink
from edge_audio.sources.stream import Stream
from edge_audio.support.text import clock

LABELS = ("Speech", "Smoke detector, smoke alarm", 'Bird "song"', "Crépitement")
SCORES = np.array([0.25, 0.9, 0.5, 0.75], np.float32)


def written(sink_type: type, n_top: int, *steps: tuple[float, list[Event]]) -> list[str]:
    out = io.StringIO()
    stream = [Stream("street", LABELS, 16_000, live=False)] if sink_type is JsonLinesSink else []
    sink: Sink = sink_type(out, *stream, TopLabels(LABELS, n_top))
    for time_s, events in steps:
        for event in events:
            sink.on_event(event)
        sink.on_scores(time_s, SCORES)
    sink.close()
    return out.getvalue().splitlines()


def test_top_labels_are_the_highest_in_falling_order() -> None:
    rng = np.random.default_rng(0)
    labels = [str(i) for i in range(50)]
    for n_top in (1, 7, 50, 60):
        scores = rng.random(50, dtype=np.float32)
        top = TopLabels(labels, n_top)(scores)
        assert [score for _, score in top] == sorted(scores.tolist(), reverse=True)[:n_top]
        assert all(scores[int(label)] == score for label, score in top)


def test_top_labels_come_from_the_wanted_ones_alone() -> None:
    top = TopLabels(LABELS, 4, frozenset({"Speech", 'Bird "song"'}))
    assert top(SCORES) == [('Bird "song"', 0.5), ("Speech", 0.25)]


@pytest.mark.parametrize("label", LABELS)
def test_json_lines_give_every_event_back(label: str) -> None:
    event = Event("start", label, 1.23456, 0.87654321)
    (line,) = written(JsonLinesSink, 0, (1.3, [event]))
    assert json.loads(line) == {
        "time_s": 1.235,
        "stream": "street",
        "kind": "start",
        "label": label,
        "score": 0.8765,
    }


def test_json_lines_with_top_have_one_scores_line_per_step_after_its_events() -> None:
    event = Event("end", "Speech", 2.0, 0.5)
    lines = written(JsonLinesSink, 2, (1.0, []), (2.0, [event]))
    records = [json.loads(line) for line in lines]
    assert [record["kind"] for record in records] == ["scores", "end", "scores"]
    assert records[0] == {
        "time_s": 1.0,
        "stream": "street",
        "kind": "scores",
        "top": [
            {"label": "Smoke detector, smoke alarm", "score": 0.9},
            {"label": "Crépitement", "score": 0.75},
        ],
    }


def test_console_writes_one_line_per_event_and_none_for_scores_unless_asked() -> None:
    events = [Event("start", LABELS[1], 61.5, 0.87), Event("end", LABELS[1], 3661.0, 0.9)]
    lines = written(ConsoleSink, 0, (3662.0, events))
    assert lines == [
        "   1:01.50  start  Smoke detector, smoke alarm  0.87",
        "1:01:01.00  end    Smoke detector, smoke alarm  0.90",
    ]
    assert "Crépitement 0.75" in written(ConsoleSink, 2, (1.0, []))[0]


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00.00"), (9.996, "0:10.00"), (59.999, "1:00.00"), (3599.999, "1:00:00.00")],
)
def test_clock_carries_rounded_seconds_over(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_segments_pair_overlapping_events_and_are_sorted_by_start() -> None:
    sink = SegmentSink()
    for event in (
        Event("start", "Speech", 1.0, 0.6),
        Event("start", "Dog", 2.0, 0.7),
        Event("end", "Dog", 3.0, 0.8),
        Event("end", "Speech", 4.0, 0.9),
        Event("start", "Dog", 5.0, 0.5),
        Event("end", "Dog", 6.0, 0.55),
    ):
        sink.on_event(event)
    assert sink.segments == [
        Segment(1.0, 4.0, "Speech", 0.9),
        Segment(2.0, 3.0, "Dog", 0.8),
        Segment(5.0, 6.0, "Dog", 0.55),
    ]
