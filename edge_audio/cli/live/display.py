"""The live view: level, top labels with their history, a spectrogram, events, what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from edge_audio.cli.live.frames import Frames
from edge_audio.cli.live.keys import Keys
from edge_audio.cli.live.layout import Layout, bar, bar_table, meter_table
from edge_audio.cli.live.parts import append_fitting, cost, event_line, loudness_style, status
from edge_audio.cli.live.spectrogram import Strip
from edge_audio.cli.live.state import StreamState, Watched
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.sources.base import Block
from edge_audio.sources.stream import SILENCE_DBFS, Stream
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock

LIVE_TOP = 8  # bars unless --top says otherwise, where there is no room for more
_BLOCKS, _ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", " ..::==##"
KEYS_HELP = ("q quit  p pause  s sensitivity  ↑↓ m mute", "q quit  p pause  s ↑↓ m", "q p s ↑↓ m")
_FRAME_WIDTH = 6  # of the panel beside the text in its border


def can_draw(console: Console) -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and not console.is_dumb_terminal


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
        watched: Watched | None = None,
        grows: bool = False,
        wish: Callable[[], None] = lambda: None,
    ) -> None:
        """playing: tells for an audio time in seconds what the source plays, where it knows.
        problems: of destinations, at the moment. line_state: of the connection to a device.
        watched: whose thresholds are drawn. grows: where there is room, more labels than those
        of `top` are shown. wish: asks for the next sensitivity."""
        self._console, self._title, self._top = console, title, top
        self._playing, self._problems, self._line_state = playing, problems, line_state
        self._n_top, self._grows = top.n_top, grows
        self._state = StreamState(stream, watched)
        self._frozen: StreamState | None = None
        self._muted: set[str] = set()
        self._wish = wish
        self._chosen = ""
        self._index = {label: i for i, label in enumerate(stream.labels)}
        self._strip = Strip(stream.sample_rate_hz) if stream.has_audio else None
        self._frames = Frames(console, self.render)
        self._keys = Keys()
        self._frames.draw()

    def watch(self, watched: Watched) -> None:
        """Draws the thresholds of other settings from now on."""
        self._state.watch(watched)

    def on_audio(self, block: Block) -> None:
        if self._strip is not None:
            self._strip.add(block.samples)

    def on_event(self, event: Event) -> None:
        self._state.take_event(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._state.take_scores(time_s, scores)
        if keys := self._keys.take():
            for key in keys:
                self.press(key)
            self._frames.draw()
        self._frames.draw_if_due()

    def on_notice(self, text: str) -> None:
        self._state.take_notice(text)
        self._frames.draw()

    def say(self, text: Text) -> None:
        """A line below the view, that people are to see whatever comes."""
        self._frames.say(text)

    def close(self) -> None:
        self._keys.close()
        self._frames.close(self._state.farewell())

    def press(self, key: str) -> None:
        """p: the view stands still, while listening goes on. s: the next sensitivity. up and down
        choose a label of the bars; m hides it, here alone; u shows all again."""
        if key == "p":
            self._frozen = self._state.frozen() if self._frozen is None else None
            if self._strip is not None:
                self._strip.is_still = self._frozen is not None
        elif key in ("up", "down"):
            self._choose(1 if key == "down" else -1)
        elif key == "m" and self._chosen:
            self._muted.add(self._chosen)
            self._chosen = ""
        elif key == "u":
            self._muted.clear()
        elif key == "s":
            self._wish()

    def _choose(self, step: int) -> None:
        labels = [label for label, _ in self._ranked(self._layout())]
        if not labels:
            return
        place = labels.index(self._chosen) + step if self._chosen in labels else 0
        self._chosen = labels[max(0, min(len(labels) - 1, place))]

    # One frame

    @property
    def _drawn(self) -> StreamState:
        return self._frozen or self._state

    def _layout(self) -> Layout:
        has_audio = self._strip is not None
        height = self._frames.height
        return Layout.of(self._console, height, self._n_top, has_audio, self._grows)

    def render(self) -> RenderableType:
        """One frame of the view."""
        layout = self._layout()
        line = status(self._problems, self._state.notice)
        if self._strip is None:  # a device, which tells of its line and of nothing else
            subtitle = Text(f"{clock(self._drawn.time_s)}  {self._line_state()}")
            return self._panel(layout, [line, *self._body(layout)], subtitle)
        parts: list[RenderableType] = [self._level_meter(layout)]
        if layout.has_strip:
            parts += ["", self._strip]
        parts += [*self._body(layout), line]
        return self._panel(layout, parts, cost(self._drawn))

    def _body(self, layout: Layout) -> list[RenderableType]:
        pause: list[RenderableType] = [""] * layout.is_airy
        return [*pause, self._bars(layout), *pause, self._events(layout)]

    def _panel(self, layout: Layout, parts: Sequence[RenderableType], subtitle: Text) -> Panel:
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        if self._frozen is not None:
            title = Text.assemble(("paused ", "bold yellow"), title)
        if self._playing:
            title.append(f" playing: {self._playing(self._drawn.time_s)}", style="italic")
        width = layout.width - _FRAME_WIDTH
        if self._muted:
            names = ", ".join(sorted(self._muted))
            append_fitting(
                subtitle, (f"muted: {names} (u)", f"{len(self._muted)} muted (u)"), width
            )
        if self._keys.is_open and not self._console.options.ascii_only:
            append_fitting(subtitle, KEYS_HELP, width)
        return Panel(
            Group(*parts),
            title=title,
            subtitle=subtitle,
            padding=(int(layout.is_airy), 2),
            width=layout.width,
            height=layout.height,
        )

    def _level_meter(self, layout: Layout) -> RenderableType:
        """RMS level from silence to full scale."""
        dbfs = self._state.stream.stats.level_dbfs
        table = meter_table(layout)
        fraction = 1.0 - dbfs / SILENCE_DBFS
        meter = self._bar(fraction, loudness_style(dbfs), layout.meter_width)
        table.add_row("level", meter, f"{dbfs:.0f} dBFS")
        return table

    def _bar(self, fraction: float, style: str, width: int, tick: float | None = None) -> Text:
        return bar(fraction, style, width, tick, self._console.options.ascii_only)

    def _ranked(self, layout: Layout) -> list[tuple[str, float]]:
        """Labels of the bars with their scores, highest first."""
        if self._drawn.shown is None:
            return []
        self._top.n_top = layout.n_bars + len(self._muted)
        ranked = [pair for pair in self._top(self._drawn.shown) if pair[0] not in self._muted]
        return ranked[: layout.n_bars]

    def _bars(self, layout: Layout) -> RenderableType:
        table = bar_table(layout)
        ranked = self._ranked(layout)
        for label, score in ranked:
            style = self._drawn.style(label)
            threshold = self._drawn.threshold(label)
            name = f"{style} reverse" if label == self._chosen else style
            row = [
                Text(label, style=name),
                self._bar(score, style, layout.bar_width, threshold.on if threshold else None),
            ]
            if layout.history_width:
                row.append(Text(self._history(label, layout.history_width), style="dim"))
            table.add_row(*row, Text(f"{score:.2f}", style=style if style != "cyan" else ""))
        n_missing = layout.n_bars - len(ranked)  # a panel of constant height does not jump
        return Group(table, *[Text()] * n_missing) if ranked else Group(*[Text()] * n_missing)

    def _history(self, label: str, n_seconds: int) -> str:
        """A character for each of the last seconds."""
        blocks = _ASCII_BLOCKS if self._console.options.ascii_only else _BLOCKS
        latest = list(self._drawn.history)[-n_seconds:]
        values = np.array([scores[self._index[label]] for scores in latest])
        levels = np.clip(np.ceil(values * 8 - 0.25), 0, 8).astype(int)
        return "".join(blocks[level] for level in levels).rjust(n_seconds)

    def _events(self, layout: Layout) -> RenderableType:
        events = [event for event in self._drawn.recent if event.label not in self._muted]
        lines = [event_line(event) for event in events][: layout.n_events]
        lines += [Text()] * (layout.n_events - len(lines))
        return Group(Text("events", style="dim"), *lines)
