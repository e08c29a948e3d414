"""A report as one picture, for a chat or a printed page."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from edge_audio.report.axis import duration
from edge_audio.report.contents import Report, name
from edge_audio.report.series import Segment, unbroken
from edge_audio.report.summary import Row, StreamReport
from edge_audio.support.text import one_line

WIDTH_IN, DPI = 11.0, 110
ROW_IN, TEXT_IN, CHART_IN = 0.2, 0.19, 1.1
LEFT_IN, RIGHT_IN, HEAD_IN, PAUSE_IN = 2.2, 0.3, 1.15, 0.55
N_TICKS = 10
MAX_TEXT_ROWS = 15
BAR, OPEN, LEVEL, GAP, SOFT = "#2a6fb0", "#b4560a", "#2f8f83", "#b9b4a8", "#5d6670"


def png_picture(report: Report) -> bytes:
    """The bytes of the file. Needs the plot extra."""
    from matplotlib.figure import Figure

    panels = _panels(report)
    height_in = HEAD_IN + sum(height + PAUSE_IN for height, _ in panels)
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, facecolor="white")
    _head(figure, report, height_in)
    top_in = height_in - HEAD_IN
    for panel_in, draw in panels:
        width_in = WIDTH_IN - LEFT_IN - RIGHT_IN
        bottom = (top_in - panel_in) / height_in
        place = (LEFT_IN / WIDTH_IN, bottom, width_in / WIDTH_IN, panel_in / height_in)
        draw(figure.add_axes(place))
        top_in -= panel_in + PAUSE_IN
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # boxes will do
        figure.savefig(file, format="png")
    return file.getvalue()


def _panels(report: Report) -> list[tuple[float, Any]]:
    """(height in inches, what draws into axes) from top to bottom."""
    rows = report.drawn_rows
    panels: list[tuple[float, Any]] = []
    if rows:
        panels.append((ROW_IN * len(rows), lambda axes: _timeline(axes, report, rows)))
    if len(report.summary.per_bin(report.bin_width_s)) > 1:
        panels.append((CHART_IN, lambda axes: _counts(axes, report)))
    for stream in report.summary.streams.values():
        if len(stream.levels) > 1:
            panels.append((CHART_IN, lambda axes, stream=stream: _levels(axes, report, stream)))
    for title, lines in (("Totals", _totals(report)), ("Gaps and notices", _notices(report))):
        if lines:
            height_in = TEXT_IN * len(lines)
            panels.append((height_in, lambda axes, t=title, x=lines: _lines(axes, t, x)))
    return panels


def _head(figure: Any, report: Report, height_in: float) -> None:
    figures = "; ".join(f"{what}: {figure}" for what, figure in report.figures)
    remarks = " ".join(report.remarks)
    for y_in, text, style in (
        (0.35, report.title, {"size": 15, "weight": "bold"}),
        (0.62, figures, {"size": 9}),
        (0.82, f"{remarks} {report.hidden_rows}", {"size": 8, "color": SOFT}),
    ):
        x, y = RIGHT_IN / WIDTH_IN, 1 - y_in / height_in
        figure.text(x, y, one_line(text, 170), parse_math=False, **style)


def _time_axis(axes: Any, report: Report, title: str) -> None:
    start_s, end_s = report.range_s
    axes.set_xlim(start_s, end_s)
    ticks = report.axis.ticks(start_s, end_s, N_TICKS)
    axes.set_xticks([time_s for time_s, _ in ticks], [text for _, text in ticks], size=8)
    axes.set_title(title, size=9, loc="left", weight="bold", parse_math=False)
    axes.grid(axis="x", color="#e3e0d8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _timeline(axes: Any, report: Report, rows: Sequence[Row]) -> None:
    _time_axis(axes, report, "Timeline")
    start_s, end_s = report.range_s
    pixel_s = (end_s - start_s) / (DPI * (WIDTH_IN - LEFT_IN - RIGHT_IN))
    for y, row in enumerate(rows):
        where = f"{name(row.stream)}: " if report.is_of_several else ""
        text = one_line(f"{where}{name(row.label)}", 34)
        axes.text(-0.01, y, text, size=8, ha="right", va="center", parse_math=False)
        axes.texts[-1].set_transform(axes.get_yaxis_transform())
        for segment in row.segments.apart(pixel_s):
            _bar(axes, segment, y, pixel_s)
        for gap in report.summary.interruptions:
            if gap.is_gap and gap.stream == row.stream:
                edges = [gap.start_s, max(gap.end_s, gap.start_s + pixel_s)]
                axes.fill_betweenx([y - 0.5, y + 0.5], *edges, facecolor="none", hatch="////")
                axes.collections[-1].set(edgecolor=GAP, linewidth=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])


def _bar(axes: Any, segment: Segment, y: int, pixel_s: float) -> None:
    length_s = max(2 * pixel_s, segment.end_s - segment.start_s)
    color = OPEN if segment.state == "open" else BAR
    alpha = 0.4 + 0.6 * segment.share
    axes.barh(y, length_s, 0.6, segment.start_s, color=color, alpha=alpha, linewidth=0)
    if segment.state == "open":
        axes.plot(segment.start_s + length_s, y, ">", color=OPEN, markersize=5, clip_on=False)


def _counts(axes: Any, report: Report) -> None:
    _time_axis(axes, report, f"Events per {report.bin_name}")
    counts = report.summary.per_bin(report.bin_width_s)
    width_s = report.bin_width_s
    axes.bar(list(counts), list(counts.values()), 0.9 * width_s, align="edge", color=BAR)
    axes.set_yticks([0, max(counts.values())])


def _levels(axes: Any, report: Report, stream: StreamReport) -> None:
    where = f" of {name(stream.name)}" if report.is_of_several else ""
    _time_axis(axes, report, f"Loudness{where}, dBFS")
    for stretch in unbroken(list(stream.levels)):
        times_s = [level.start_s for level in stretch]
        low, high = ([getattr(x, side) for x in stretch] for side in ("low_dbfs", "high_dbfs"))
        axes.fill_between(times_s, low, high, color=LEVEL, alpha=0.25, linewidth=0)
        axes.plot(times_s, [level.mean_dbfs for level in stretch], color=LEVEL, linewidth=1)


def _totals(report: Report) -> list[str]:
    lines = []
    for row in report.summary.ranked[:MAX_TEXT_ROWS]:
        where = f" ({name(row.stream)})" if report.is_of_several else ""
        times = "once" if row.n_events == 1 else f"{row.n_events:,} times"
        lines.append(
            f"{one_line(name(row.label) + where, 60)}: {times}, {duration(row.sounding_s)} in "
            f"all, {duration(row.longest_s)} at most, score up to {row.top_score:.2f}"
        )
    return lines


def _notices(report: Report) -> list[str]:
    latest = list(report.summary.interruptions)[-MAX_TEXT_ROWS:]
    several = report.is_of_several
    return [
        f"{report.interruption_text(x)}  {f'{name(x.stream)}: ' * several}{x.text}" for x in latest
    ]


def _lines(axes: Any, title: str, lines: Sequence[str]) -> None:
    axes.axis("off")
    axes.set_title(title, size=9, loc="left", weight="bold")
    for i, line in enumerate(lines):
        y = 1 - (i + 0.5) / len(lines)
        axes.text(0, y, one_line(line, 120), size=8, va="center", parse_math=False)
