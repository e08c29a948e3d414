"""The live view: level, top labels with their history, a spectrogram, events, what it costs."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge_audio.cli.live.frames import Frames
from edge_audio.cli.live.spectrogram import STRIP_ROWS, Strip
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.sources.base import Block
from edge_audio.sources.stream import SILENCE_DBFS, Stream, lost
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock, printable

FALL_TIME_S = 0.7  # bars fall this slowly, so that an eye can read their labels
N_RECENT = 6
LIVE_TOP = 8  # bars unless --top says otherwise
MAX_WIDTH, MIN_WIDTH = 100, 40
NUMBER_WIDTH = 8
HISTORY_S = 30  # a character of a label's history is a second
_BLOCKS, _ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", " ..::==##"


def can_draw(console: Console) -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and not console.is_dumb_terminal


@dataclass(frozen=True)
class Layout:
    """What a terminal has room for. Widths and heights in characters."""

    width: int
    label_width: int
    bar_width: int
    has_history: bool
    has_strip: bool
    is_airy: bool
    n_bars: int
    n_events: int

    @classmethod
    def of(cls, console: Console, n_top: int, has_audio: bool = True) -> Layout:
        """Where room is short, the strip goes first, then blank lines, events, and bars."""
        width = max(MIN_WIDTH, min(MAX_WIDTH, console.width))
        inner = width - 6 - NUMBER_WIDTH - 2
        has_history = inner >= 60
        label_width = (inner - (HISTORY_S + 1) * has_history) * 3 // 5
        bar_width = inner - (HISTORY_S + 1) * has_history - label_width
        n_left = console.height - 6 - n_top  # borders, level, two heads, the line below
        can_color = console.color_system is not None and not console.options.ascii_only
        has_strip = has_audio and can_color and n_left >= N_RECENT + 6 + STRIP_ROWS
        n_events = max(0, min(N_RECENT, n_left))
        n_bars = max(1, n_top + min(0, n_left))
        is_airy = n_left >= N_RECENT + 5
        return cls(width, label_width, bar_width, has_history, has_strip, is_airy, n_bars, n_events)


@dataclass
class StreamState:
    """What is known of a stream: scores that fall slowly, their history, events, notices."""

    stream: Stream
    time_s: float = 0.0
    shown: FloatArray | None = None
    active: dict[str, Event] = field(default_factory=dict)
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=N_RECENT))
    history: deque[FloatArray] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    notice: str = ""
    notice_at_s: float = float("-inf")  # by the clock of the process

    def take_event(self, event: Event) -> None:
        self.recent.appendleft(event)
        if event.kind == "start":
            self.active[event.label] = event
        else:
            self.active.pop(event.label, None)

    def take_scores(self, time_s: float, scores: FloatArray) -> None:
        if self.shown is None:
            self.shown = scores.copy()
        fall = np.float32(np.exp(-max(0.0, time_s - self.time_s) / FALL_TIME_S))
        self.shown = np.maximum(scores, self.shown * fall)
        if int(time_s) > int(self.time_s) or not self.history:
            self.history.append(scores.copy())
        else:
            np.maximum(self.history[-1], scores, out=self.history[-1])
        self.time_s = time_s

    def take_notice(self, text: str) -> None:
        self.notice_at_s = time.monotonic()
        self.notice = f"{clock(self.time_s)}  {text}"

    def style(self, label: str) -> str:
        return "green" if label in self.active else "cyan"


class LiveSink(Sink):
    """Draws the state of one stream into a terminal, in place."""

    def __init__(
        self,
        console: Console,
        title: str,
        top: TopLabels,
        stream: Stream,
        playing: Callable[[float], str] | None = None,
        problems: Callable[[], Sequence[str]] | None = None,
        line_state: Callable[[], str] = lambda: "",
    ) -> None:
        """playing: tells for an audio time in seconds what the source plays, where it knows.
        problems: of destinations, at the moment. line_state: of the connection to a device."""
        self._console, self._title, self._top = console, title, top
        self._playing, self._problems, self._line_state = playing, problems, line_state
        self._state = StreamState(stream)
        self._index = {label: i for i, label in enumerate(stream.labels)}
        self._strip = Strip(stream.sample_rate_hz) if stream.has_audio else None
        self._frames = Frames(console, self.render)
        self._frames.draw()

    def on_audio(self, block: Block) -> None:
        if self._strip is not None:
            self._strip.add(block.samples)

    def on_event(self, event: Event) -> None:
        self._state.take_event(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._state.take_scores(time_s, scores)
        self._frames.draw_if_due()

    def on_notice(self, text: str) -> None:
        self._state.take_notice(text)
        self._frames.draw()

    def close(self) -> None:
        self._frames.close()

    def render(self) -> RenderableType:
        """One frame of the view."""
        layout = Layout.of(self._console, self._top.n_top, has_audio=self._strip is not None)
        status = _status(self._problems, self._state.notice)
        if self._strip is None:  # a device, which tells of its line and of nothing else
            subtitle = Text(f"{clock(self._state.time_s)}  {self._line_state()}")
            return self._panel(layout, [status, *self._body(layout)], subtitle)
        parts: list[RenderableType] = [level_meter(self._state.stream.stats.level_dbfs, layout)]
        if layout.has_strip:
            parts += ["", self._strip]
        parts += [*self._body(layout), status]
        return self._panel(layout, parts, cost(self._state))

    def _body(self, layout: Layout) -> list[RenderableType]:
        pause: list[RenderableType] = [""] * layout.is_airy
        return [*pause, self._bars(layout), *pause, self._events(layout)]

    def _panel(self, layout: Layout, parts: Sequence[RenderableType], subtitle: Text) -> Panel:
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        if self._playing:
            title.append(f" playing: {self._playing(self._state.time_s)}", style="italic")
        padding = (int(layout.is_airy), 2)
        body = Group(*parts)
        return Panel(body, title=title, subtitle=subtitle, padding=padding, width=layout.width)

    def _bars(self, layout: Layout) -> RenderableType:
        table = bar_table(layout, layout.has_history)
        shown = self._state.shown
        ranked = self._top(shown)[: layout.n_bars] if shown is not None else []
        for label, score in ranked:
            style = self._state.style(label)
            row: list[RenderableType] = [
                Text(label, style=style),
                bar(score, style, layout.bar_width),
            ]
            if layout.has_history:
                row.append(Text(self._history(label), style="dim"))
            table.add_row(*row, f"{score:.2f}")
        n_missing = layout.n_bars - len(ranked)  # a panel of constant height does not jump
        return Group(table, *[Text()] * n_missing)

    def _history(self, label: str) -> str:
        """A character for each of the last seconds."""
        blocks = _ASCII_BLOCKS if self._console.options.ascii_only else _BLOCKS
        values = np.array([scores[self._index[label]] for scores in self._state.history])
        levels = np.clip(np.ceil(values * 8 - 0.25), 0, 8).astype(int)
        return "".join(blocks[level] for level in levels).rjust(HISTORY_S)

    def _events(self, layout: Layout) -> RenderableType:
        lines = [event_line(event) for event in self._state.recent][: layout.n_events]
        lines += [Text()] * (layout.n_events - len(lines))
        return Group(Text("events", style="dim"), *lines)


class LiveView:
    """Draws several streams into one terminal, a row each; `sinks` has one for each stream."""

    def __init__(
        self,
        console: Console,
        title: str,
        tops: Sequence[TopLabels],
        streams: Sequence[Stream],
        problems: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """tops: for each stream, which its highest label is chosen by."""
        self._console, self._title, self._tops = console, title, tops
        self._problems = problems
        self._states = [StreamState(stream) for stream in streams]
        self._n_open = len(streams)
        self.frames = Frames(console, self.render)
        self.sinks: list[Sink] = [_RowSink(state, self) for state in self._states]
        self.frames.draw()

    def end_one(self) -> None:
        """A stream has ended; with the last one the drawing ends."""
        self._n_open -= 1
        if self._n_open == 0:
            self.frames.close()

    def render(self) -> RenderableType:
        """One frame of the view."""
        width = max(MIN_WIDTH, min(MAX_WIDTH, self._console.width))
        n_rows = max(1, min(len(self._states), self._console.height - 6))
        inner = width - 6
        widths = [inner * share // 100 for share in (18, 18, 32, 32)]
        table = Table.grid(padding=(0, 1))
        for column_width in widths:
            table.add_column(width=column_width - 1, no_wrap=True, overflow="ellipsis")
        table.add_row(*(Text(head, style="dim") for head in ("stream", "level", "now", "last")))
        for state, top in list(zip(self._states, self._tops, strict=True))[:n_rows]:
            table.add_row(*_row(state, top, widths[1] - 1))
        parts: list[RenderableType] = [table, _status(self._problems, self._latest_notice())]
        if n_rows < len(self._states):
            parts.insert(1, Text(f"{len(self._states) - n_rows} more streams", style="dim"))
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        padding = (0, 2)
        return Panel(
            Group(*parts), title=title, subtitle=self._cost(), padding=padding, width=width
        )

    def _latest_notice(self) -> str:
        latest = max(self._states, key=lambda state: state.notice_at_s)
        return f"{latest.stream.name}  {latest.notice}" if latest.notice else ""

    def _cost(self) -> Text:
        stats = [state.stream.stats for state in self._states]
        audio_s = sum(each.audio_s for each in stats)
        cpu_s = max(each.load * each.audio_s for each in stats)  # each counts the whole process
        load = cpu_s / audio_s if audio_s else 0.0
        lost_s = sum(each.lost_s for each in stats)
        n_unknown_gaps = sum(each.n_unknown_gaps for each in stats)
        time_s = max(state.time_s for state in self._states)
        return _cost_text(time_s, load, lost_s, n_unknown_gaps)


class _RowSink(Sink):
    """One stream of a `LiveView`."""

    def __init__(self, state: StreamState, view: LiveView) -> None:
        self._state, self._view = state, view

    def on_event(self, event: Event) -> None:
        self._state.take_event(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._state.take_scores(time_s, scores)
        self._view.frames.draw_if_due()

    def on_notice(self, text: str) -> None:
        self._state.take_notice(text)
        self._view.frames.draw()

    def close(self) -> None:
        self._view.end_one()


def _row(state: StreamState, top: TopLabels, meter_width: int) -> list[RenderableType]:
    """Name, level (of a device nobody knows it), highest label, latest event."""
    dbfs = state.stream.stats.level_dbfs
    meter: RenderableType = Text("a device", style="dim")
    if state.stream.has_audio:
        meter = ProgressBar(1.0, 1.0 - dbfs / SILENCE_DBFS, meter_width, complete_style=_loud(dbfs))
    now, last = Text(), Text()
    if state.shown is not None and (ranked := top(state.shown)):
        label, score = ranked[0]
        now = Text(f"{score:.2f} {label}", style=state.style(label))
    if state.recent:
        event = state.recent[0]
        style = "green" if event.kind == "start" else "dim"
        last = Text(f"{clock(event.time_s)} {event.kind} {event.label}", style=style)
    return [Text(state.stream.name), meter, now, last]


def _status(problems: Callable[[], Sequence[str]] | None, notice: str) -> Text:
    """What is wrong, or else the latest notice."""
    wrong = problems() if problems else []
    text, style = (wrong[0], "red") if wrong else (notice, "yellow")
    if len(wrong) > 1:
        text = f"{text}  (and {len(wrong) - 1} more)"
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def cost(state: StreamState) -> Text:
    """Time, load and losses of a stream."""
    stats = state.stream.stats
    return _cost_text(state.time_s, stats.load, stats.lost_s, stats.n_unknown_gaps)


def _cost_text(time_s: float, load: float, lost_s: float, n_unknown_gaps: int) -> Text:
    style = "red" if lost_s or n_unknown_gaps else "dim"
    losses = (lost(lost_s, n_unknown_gaps), style)
    return Text.assemble(f"{clock(time_s)}  load {load:.1%}  ", losses)


def bar_table(layout: Layout, has_history: bool = False) -> Table:
    """Rows of label, bar, history and number."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=layout.label_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=layout.bar_width)
    if has_history:
        table.add_column(width=HISTORY_S)
    table.add_column(width=NUMBER_WIDTH, justify="right")
    return table


def bar(fraction: float, style: str, width: int) -> ProgressBar:
    """Filled up to a fraction within [0, 1]."""
    return ProgressBar(total=1.0, completed=fraction, width=width, complete_style=style)


def level_meter(dbfs: float, layout: Layout) -> RenderableType:
    """RMS level from silence to full scale."""
    table = bar_table(layout)
    table.columns[1].width = layout.bar_width + (HISTORY_S + 1) * layout.has_history
    meter = bar(1.0 - dbfs / SILENCE_DBFS, _loud(dbfs), table.columns[1].width)
    table.add_row("level", meter, f"{dbfs:.0f} dBFS")
    return table


def _loud(dbfs: float) -> str:
    return "red" if dbfs > -3.0 else "yellow" if dbfs > -12.0 else "green"


def event_line(event: Event) -> Text:
    """One event in the list of recent ones."""
    style = "green" if event.kind == "start" else "dim"
    line = f"{clock(event.time_s):>10}  {event.kind:<5}  {event.label}  {event.score:.2f}"
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")
