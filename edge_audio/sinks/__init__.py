"""Where events and scores go. Heavy destinations are imported from their own modules."""

from edge_audio.sinks.base import Outlet, Sink, TopLabels, clock, scored
from edge_audio.sinks.console import ConsoleSink
from edge_audio.sinks.jsonl import JsonLinesSink
from edge_audio.sinks.segments import Segment, SegmentSink

__all__ = [
    "ConsoleSink",
    "JsonLinesSink",
    "Outlet",
    "Segment",
    "SegmentSink",
    "Sink",
    "TopLabels",
    "clock",
    "scored",
]
