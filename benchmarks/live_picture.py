"""Draws docs/live.svg: the live view as it looks at one moment of the demo scene.

    python benchmarks/live_picture.py [--time 36.8] [--out docs/live.svg]

Nothing is staged: the shipped model hears the scene from its start, as `edge-audio listen
--source demo` does.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from edge_audio.cli.live.display import LIVE_TOP, MAX_WIDTH, LiveSink
from edge_audio.sinks.base import TopLabels
from edge_audio.sources.base import first_seconds
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.stream import Stream
from edge_audio.tagging.tagger import Tagger


def terminal() -> Console:
    """One that is large, and seen by nobody."""
    return Console(
        file=io.StringIO(),
        width=MAX_WIDTH,
        height=50,
        force_terminal=True,
        color_system="truecolor",
    )


@click.command()
@click.option("--time", "time_s", default=36.8, show_default=True, help="Audio time to show.")
@click.option("--out", type=click.Path(path_type=Path), default="docs/live.svg", show_default=True)
def main(time_s: float, out: Path) -> None:
    """Writes the picture."""
    tagger, scene = Tagger.open("tiny-int8"), DemoScene()
    stream = Stream(scene.name, tagger.labels, scene.sample_rate_hz, live=True)
    canvas = Console(record=True, file=io.StringIO(), width=MAX_WIDTH, force_terminal=True)
    quiet = terminal()
    title = f"{tagger.bundle.manifest.name} on {scene.name}"
    top = TopLabels(tagger.labels, LIVE_TOP)
    sink = LiveSink(quiet, title, top, stream, scene.segment_at)
    for block in first_seconds(scene.blocks(), scene.sample_rate_hz, time_s):
        stream.stats.count(block, scene)
        sink.on_audio(block)
        for step_end_s, scores, events in tagger.steps(block.samples):
            for event in events:
                sink.on_event(event)
            sink.on_scores(step_end_s, scores)
    canvas.print(sink.render())
    sink.close()
    # rich's own template fetches a font from the web
    template = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    title = "edge-audio listen --source demo"
    canvas.save_svg(str(out), title=title, code_format=template, unique_id="live")


if __name__ == "__main__":
    main()
