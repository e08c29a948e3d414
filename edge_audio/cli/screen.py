"""What a listening run shows on standard output: a live view, lines of text, JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import get_args

from rich.console import Console

from edge_audio.blocks import Source
from edge_audio.cli.display import LIVE_TOP, LiveSink, can_draw
from edge_audio.config import Config, Format
from edge_audio.demo import DemoScene
from edge_audio.sinks import ConsoleSink, JsonLinesSink, Sink
from edge_audio.streams import Stream

FORMATS = get_args(Format)


class Screen:
    """Standard output of a run; sinks: for each stream, those that write there."""

    def __init__(
        self,
        config: Config,
        title: str,
        streams: Sequence[Stream],
        sources: Sequence[Source],
    ) -> None:
        """title: the model's name."""
        console = Console()
        self.is_live = config.format == "live" and can_draw(console) and len(streams) == 1
        self.sinks: list[list[Sink]] = []
        for stream, source in zip(streams, sources, strict=True):
            name = stream.name if len(streams) > 1 else ""
            top = config.events.top(stream.labels, config.top or LIVE_TOP * self.is_live)
            if self.is_live:
                playing = source.segment_at if isinstance(source, DemoScene) else None
                where = f"{title} on {source.name}"
                self.sinks.append([LiveSink(console, where, top, stream.stats, playing)])
            elif config.format == "jsonl":
                self.sinks.append([JsonLinesSink(sys.stdout, top)])
            elif config.format == "none":
                self.sinks.append([])
            else:
                self.sinks.append([ConsoleSink(sys.stdout, top, name)])

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (sink for sinks in self.sinks for sink in sinks):
            sink.close()
