"""What a terminal has room for, and the bars that are drawn there."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_audio.cli.live.spectrogram import STRIP_ROWS

MIN_WIDTH = 40
NUMBER_WIDTH = 8
HISTORY_S = 120  # that are remembered; a character of a label's history is a second
LEAST_HISTORY_S = 30  # that are shown, where there is room for any
MAX_LABEL_WIDTH = 36
_MIN_EVENTS = 6
_LEAST_EVENTS, _LEAST_BARS = 2, 4  # of which the smallest terminals show some of both
_FRAME_ROWS = 5  # borders, level, the head of events, status


@dataclass(frozen=True)
class Layout:
    """What a terminal has room for. Widths and heights in characters."""

    width: int
    height: int
    label_width: int
    bar_width: int
    history_width: int
    has_strip: bool
    is_airy: bool
    n_bars: int
    n_events: int

    @classmethod
    def of(
        cls,
        console: Console,
        height: int,
        n_top: int,
        has_audio: bool = True,
        grows: bool = False,
    ) -> Layout:
        """All rows and columns are used. Where room is short, the strip goes first, then blank
        lines, events, and bars; where there is plenty, lists get longer. grows: n_top bars are
        a wish and not all that is wanted."""
        width = max(MIN_WIDTH, console.width)
        label_width, bar_width, history_width = _columns(width - 6 - NUMBER_WIDTH - 2)
        n_left = height - _FRAME_ROWS - n_top
        can_color = console.color_system is not None and not console.options.ascii_only
        has_strip = has_audio and can_color and n_left >= _MIN_EVENTS + 6 + STRIP_ROWS
        is_airy = n_left >= _MIN_EVENTS + 5
        n_left -= has_strip * (STRIP_ROWS + 1) + is_airy * 4
        n_more = max(0, n_left - _MIN_EVENTS) // 2 if grows else 0
        n_lists = max(1, n_top + n_left)
        n_bars = min(n_top + n_more, max(_LEAST_BARS, n_lists - _LEAST_EVENTS), n_lists)
        n_events = n_lists - n_bars
        return cls(
            width=width,
            height=height,
            label_width=label_width,
            bar_width=bar_width,
            history_width=history_width,
            has_strip=has_strip,
            is_airy=is_airy,
            n_bars=n_bars,
            n_events=n_events,
        )

    @property
    def meter_width(self) -> int:
        """Of a bar without a history beside it."""
        return self.bar_width + self.history_width + (self.history_width > 0)


def _columns(inner: int) -> tuple[int, int, int]:
    """Widths of labels, bars and histories within `inner` columns."""
    history_width = 0
    if inner >= 60:
        history_width = min(HISTORY_S, max(LEAST_HISTORY_S, inner // 3))
    rest = inner - history_width - (history_width > 0)
    label_width = min(MAX_LABEL_WIDTH, rest * 3 // 5)
    return label_width, rest - label_width, history_width


def bar_table(layout: Layout) -> Table:
    """Rows of label, bar, history where there is room for it, and number."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=layout.label_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=layout.bar_width, no_wrap=True)
    if layout.history_width:
        table.add_column(width=layout.history_width, no_wrap=True)
    table.add_column(width=NUMBER_WIDTH, justify="right", no_wrap=True)
    return table


def meter_table(layout: Layout) -> Table:
    """A row of name, bar and number, as wide as those of `bar_table`."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=layout.label_width, no_wrap=True)
    table.add_column(width=layout.meter_width, no_wrap=True)
    table.add_column(width=NUMBER_WIDTH, justify="right", no_wrap=True)
    return table


def bar(
    fraction: float, style: str, width: int, tick: float | None = None, ascii_only: bool = False
) -> Text:
    """Filled up to a fraction within [0, 1], with a tick at another (a threshold)."""
    full, empty, mark = ("=", "-", "|") if ascii_only else ("━", "─", "┃")
    n_full = round(min(1.0, max(0.0, fraction)) * width)
    text = Text.assemble((full * n_full, style), (empty * (width - n_full), "bright_black"))
    if tick is None:
        return text
    place = min(width - 1, int(tick * width))
    return Text.assemble(text[:place], (mark, "yellow"), text[place + 1 :])
