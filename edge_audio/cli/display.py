"""The live view: level meter, top labels as bars, recent events, and what it all costs."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge_audio.events import Event
from edge_audio.frontend import FloatArray
from edge_audio.sinks import Sink, TopLabels, clock
from edge_audio.streams import SILENCE_DBFS, Stats

REFRESH_S = 0.125  # drawing costs more CPU than the model does: eight frames a second will do
FALL_TIME_S = 0.7  # bars fall this slowly, so that an eye can read their labels
N_RECENT = 6
LIVE_TOP = 8  # bars unless --top says otherwise
WIDTH = 78
LABEL_WIDTH, BAR_WIDTH, NUMBER_WIDTH = 36, 26, 8


def can_draw(console: Console) -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and not console.is_dumb_terminal


class LiveSink(Sink):
    """Draws the state of a listening run into a terminal, in place."""

    def __init__(
        self,
        console: Console,
        title: str,
        top: TopLabels,
        stats: Stats,
        playing: Callable[[float], str] | None = None,
    ) -> None:
        """playing: tells for an audio time in seconds what the source plays, where it knows."""
        self._title = title
        self._playing = playing
        self._top = top
        self._stats = stats
        self._time_s = 0.0
        self._shown: FloatArray | None = None
        self._active: dict[str, Event] = {}
        self._recent: deque[Event] = deque(maxlen=N_RECENT)
        self._drawn_at_s = float("-inf")
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()
        self._draw()

    def on_event(self, event: Event) -> None:
        self._recent.appendleft(event)
        if event.kind == "start":
            self._active[event.label] = event
        else:
            self._active.pop(event.label, None)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._let_bars_fall(time_s - self._time_s, scores)
        self._time_s = time_s
        if time.monotonic() - self._drawn_at_s >= REFRESH_S:
            self._draw()

    def close(self) -> None:
        try:
            self._draw()
        finally:
            self._live.stop()

    def _let_bars_fall(self, elapsed_s: float, scores: FloatArray) -> None:
        if self._shown is None:
            self._shown = scores.copy()
        fall = np.float32(np.exp(-elapsed_s / FALL_TIME_S))
        self._shown = np.maximum(scores, self._shown * fall)

    def _draw(self) -> None:
        self._drawn_at_s = time.monotonic()
        self._live.update(self.render(), refresh=True)

    def render(self) -> RenderableType:
        """One frame of the view."""
        body = Group(level_meter(self._stats.level_dbfs), "", self._bars(), "", self._events())
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        if self._playing:
            title.append(f" playing: {self._playing(self._time_s)}", style="italic")
        return Panel(body, title=title, subtitle=self._cost(), padding=(1, 2), width=WIDTH)

    def _bars(self) -> RenderableType:
        table = bar_table()
        ranked = self._top(self._shown) if self._shown is not None else []
        for label, score in ranked:
            style = "green" if label in self._active else "cyan"
            table.add_row(Text(label, style=style), bar(score, style), f"{score:.2f}")
        return table

    def _events(self) -> RenderableType:
        lines = [event_line(event) for event in self._recent]
        lines += [Text()] * (N_RECENT - len(lines))  # a panel of constant height does not jump
        return Group(Text("events", style="dim"), *lines)

    def _cost(self) -> str:
        stats = self._stats
        losses = f"{stats.n_overflows} overflows, {stats.n_dropped_samples} samples dropped"
        style = "red" if stats.n_overflows or stats.n_dropped_samples else "dim"
        return f"{clock(self._time_s)}  load {stats.load:.1%}  [{style}]{losses}[/{style}]"


def bar_table() -> Table:
    """Rows of label, bar, number."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=LABEL_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column(width=BAR_WIDTH)
    table.add_column(width=NUMBER_WIDTH, justify="right")
    return table


def bar(fraction: float, style: str) -> ProgressBar:
    """Filled up to a fraction within [0, 1]."""
    return ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH, complete_style=style)


def level_meter(dbfs: float) -> RenderableType:
    """RMS level from silence to full scale."""
    style = "red" if dbfs > -3.0 else "yellow" if dbfs > -12.0 else "green"
    table = bar_table()
    table.add_row("level", bar(1.0 - dbfs / SILENCE_DBFS, style), f"{dbfs:.0f} dBFS")
    return table


def event_line(event: Event) -> Text:
    """One event in the list of recent ones."""
    style = "green" if event.kind == "start" else "dim"
    line = f"{clock(event.time_s):>10}  {event.kind:<5}  {event.label}  {event.score:.2f}"
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")
