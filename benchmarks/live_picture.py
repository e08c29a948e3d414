"""Draws docs/live.svg: the live view as it looks at one moment of the demo scene.

    python benchmarks/live_picture.py [--time 30.8] [--out docs/live.svg]

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

from edge_audio.cli.live.display import LIVE_TOP, LiveSink
from edge_audio.cli.live.state import Watched
from edge_audio.events.policy import PolicySpec
from edge_audio.sinks.base import TopLabels
from edge_audio.sources.base import first_seconds
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.stream import Stream
from edge_audio.tagging.tagger import Tagger


def terminal(width: int, height: int) -> Console:
    """One that is seen by nobody."""
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor",
    )


@click.command()
@click.option("--time", "time_s", default=30.8, show_default=True, help="Audio time to show.")
@click.option("--out", type=click.Path(path_type=Path), default="docs/live.svg", show_default=True)
@click.option(
    "--size", nargs=2, type=int, default=(100, 36), show_default=True, help="Columns and rows."
)
def main(time_s: float, out: Path, size: tuple[int, int]) -> None:
    """Writes the picture."""
    tagger, scene = Tagger.open("tiny-int8", policy=PolicySpec()), DemoScene()
    stream = Stream(scene.name, tagger.labels, scene.sample_rate_hz, live=True)
    width, height = size
    canvas = Console(
        record=True, file=io.StringIO(), width=width, height=height, force_terminal=True
    )
    quiet = terminal(width, height)
    title = f"{tagger.bundle.manifest.name} on {scene.name}"
    top = TopLabels(tagger.labels, LIVE_TOP)
    manifest = tagger.bundle.manifest
    watched = Watched(manifest.events, manifest.model.step_s)
    sink = LiveSink(quiet, title, top, stream, scene.segment_at, watched=watched, grows=True)
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
