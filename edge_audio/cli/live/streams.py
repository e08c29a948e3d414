"""The live view of several streams at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_audio.cli.live.frames import Frames
from edge_audio.cli.live.keys import Keys
from edge_audio.cli.live.layout import MIN_WIDTH, bar
from edge_audio.cli.live.parts import cost_text, event_line, loudness_style, status
from edge_audio.cli.live.state import StreamState, Watched
from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink, TopLabels
from edge_audio.sources.stream import SILENCE_DBFS, Stream
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock


class LiveView:
    """Draws several streams into one terminal, a row each; `sinks` has one for each stream."""

    def __init__(
        self,
        console: Console,
        title: str,
        tops: Sequence[TopLabels],
        streams: Sequence[Stream],
        problems: Callable[[], Sequence[str]] | None = None,
        watched: Sequence[Watched | None] = (),
    ) -> None:
        """tops: for each stream, which its highest label is chosen by. watched: by what settings
        each is listened to, where that is known."""
        self._console, self._title, self._tops = console, title, tops
        self._problems = problems
        known = watched or [None] * len(streams)
        self._states = [StreamState(*pair) for pair in zip(streams, known, strict=True)]
        self._n_open = len(streams)
        self.frames = Frames(console, self.render)
        self._keys = Keys()
        self.sinks: list[Sink] = [_RowSink(state, self) for state in self._states]
        self.frames.draw()

    def end_one(self) -> None:
        """A stream has ended; with the last one the drawing ends."""
        self._n_open -= 1
        if self._n_open == 0:
            self._keys.close()
            self.frames.close(line for state in self._states for line in state.farewell())

    @property
    def watchers(self) -> list[Callable[[Watched], None]]:
        """For each stream, what is told of other settings."""
        return [state.watch for state in self._states]

    def render(self) -> RenderableType:
        """One frame of the view."""
        width, height = max(MIN_WIDTH, self._console.width), self.frames.height
        n_rows = max(1, min(len(self._states), height - 6))
        table = self._table(width - 6, n_rows)
        parts: list[RenderableType] = [table, status(self._problems, self._latest_notice())]
        if n_rows < len(self._states):
            parts.insert(1, Text(f"{len(self._states) - n_rows} more streams", style="dim"))
        elif (n_left := height - n_rows - 6) > 0:
            parts += ["", *self._events()[:n_left]]
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        body = Group(*parts)
        subtitle, padding = self._cost(), (0, 2)
        return Panel(
            body, title=title, subtitle=subtitle, padding=padding, width=width, height=height
        )

    def _table(self, inner: int, n_rows: int) -> Table:
        """A row for each stream, within `inner` columns."""
        widths = [inner * share // 100 for share in (18, 18, 32, 32)]
        table = Table.grid(padding=(0, 1))
        for column_width in widths:
            table.add_column(width=column_width - 1, no_wrap=True, overflow="ellipsis")
        table.add_row(*(Text(head, style="dim") for head in ("stream", "level", "now", "last")))
        for state, top in list(zip(self._states, self._tops, strict=True))[:n_rows]:
            table.add_row(*_row(state, top, widths[1] - 1, self._console.options.ascii_only))
        return table

    def _events(self) -> list[Text]:
        """The latest of all streams."""
        pairs = [(event, state.stream.name) for state in self._states for event in state.recent]
        pairs.sort(key=lambda pair: -pair[0].time_s)
        return [event_line(*pair) for pair in pairs]

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
        return cost_text(time_s, load, lost_s, n_unknown_gaps)


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


def _row(
    state: StreamState, top: TopLabels, meter_width: int, ascii_only: bool
) -> list[RenderableType]:
    """Name, level (of a device nobody knows it), highest label, latest event."""
    dbfs = state.stream.stats.level_dbfs
    meter: RenderableType = Text("a device", style="dim")
    if state.stream.has_audio:
        fraction = 1.0 - dbfs / SILENCE_DBFS
        meter = bar(fraction, loudness_style(dbfs), meter_width, ascii_only=ascii_only)
    now, last = Text(), Text()
    if state.shown is not None and (ranked := top(state.shown)):
        label, score = ranked[0]
        now = Text(f"{score:.2f} {label}", style=state.style(label))
    if state.recent:
        event = state.recent[0]
        style = "green" if event.kind == "start" else "dim"
        last = Text(f"{clock(event.time_s)} {event.kind} {event.label}", style=style)
    return [Text(state.stream.name), meter, now, last]
