"""Lines that views of one stream and of several have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.text import Text

from edge_audio.cli.live.state import StreamState
from edge_audio.events.detector import Event
from edge_audio.sources.stream import lost
from edge_audio.support.text import clock, printable


def status(problems: Callable[[], Sequence[str]] | None, notice: str) -> Text:
    """What is wrong, or else the latest notice."""
    wrong = problems() if problems else []
    text, style = (wrong[0], "red") if wrong else (notice, "yellow")
    if len(wrong) > 1:
        text = f"{text}  (and {len(wrong) - 1} more)"
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def cost(state: StreamState) -> Text:
    """Time, load and losses of a stream."""
    stats = state.stream.stats
    return cost_text(state.time_s, stats.load, stats.lost_s, stats.n_unknown_gaps)


def cost_text(time_s: float, load: float, lost_s: float, n_unknown_gaps: int) -> Text:
    """Time, load and losses."""
    style = "red" if lost_s or n_unknown_gaps else "dim"
    losses = (lost(lost_s, n_unknown_gaps), style)
    return Text.assemble(f"{clock(time_s)}  load {load:.1%}  ", losses)


def append_fitting(line: Text, variants: Sequence[str], width: int) -> None:
    """Adds to a line, two spaces on, the first of these texts that fits into the width, or none."""
    for text in variants:
        if line.cell_len + 2 + cell_len(text) <= width:
            line.append(f"  {text}", style="dim")
            return


def loudness_style(dbfs: float) -> str:
    """Of a level in dB relative to full scale."""
    return "red" if dbfs > -3.0 else "yellow" if dbfs > -12.0 else "green"


def event_line(event: Event, name: str = "") -> Text:
    """One event in the list of recent ones. name: of its stream, where there are several."""
    style = "green" if event.kind == "start" else "dim"
    where = f"{name}: " if name else ""
    line = f"{clock(event.time_s):>10}  {event.kind:<5}  {where}{event.label}  {event.score:.2f}"
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")
