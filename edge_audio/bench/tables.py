"""Results as tables, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.table import Column, Table

from edge_audio.bench.quality import Quality
from edge_audio.bench.result import BenchResults, Row, Scaling, Spread
from edge_audio.bench.scaling import Point
from edge_audio.support.text import printable

REFERENCE = "YAMNet"
WAKING = "waking every 80 ms, nothing else"


class Grid(NamedTuple):
    """One table: the first column names the rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_rich(self) -> Table:
        """For a terminal."""
        width = max((len(row[0]) for row in self.rows), default=0)
        names = Column(self.columns[0], min_width=width)
        figures = (Column(name, justify="right") for name in self.columns[1:])
        table = Table(names, *figures, box=None, title=self.title, title_justify="left")
        for row in self.rows:
            table.add_row(*map(printable, row))
        return table

    def to_markdown(self) -> str:
        """The table alone, without its title."""
        rule = ["---", *("---:" for _ in self.columns[1:])]
        cells = ([cell.replace("|", r"\|") for cell in row] for row in self.rows)
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, rule, *cells)]
        return "\n".join(lines)


def grids(results: BenchResults) -> Iterator[Grid]:
    """Tables of everything that was measured."""
    yield cost(results)
    yield parts(results)
    yield latency(results)
    if results.quality:
        yield quality(results)
    if results.scaling:
        if any(one.capacity for one in results.scaling):
            yield capacity(results)
        yield from curves(results)


def cost(results: BenchResults) -> Grid:
    """What listening costs, and as a share of YAMNet's."""
    reference = next((row for row in results.rows if row.name == REFERENCE), None)
    share = [f"of {REFERENCE}"] if reference else []
    columns = ["", "a file", *share, "live", *share, "in real time", *share]
    columns += ["peak RSS, MB", "first score, s", "model, KB"]
    rows = [
        [
            row.name,
            *_with_share("file_ms_per_s", row, reference),
            *_with_share("live_ms_per_s", row, reference),
            *_with_share("paced_ms_per_s", row, reference),
            f"{row.peak_rss_mb:.0f}",
            f"{row.first_score_s:.2f}",
            f"{row.facts.n_model_bytes / 1e3:,.0f}",
        ]
        for row in results.rows
    ]
    if results.waking_ms_per_s is not None:
        rows.append(_waking(results.waking_ms_per_s.median, reference))
    return Grid("CPU ms per second of audio", columns, rows)


def _waking(ms_per_s: float, reference: Row | None) -> list[str]:
    """The row of a process that wakes and does nothing."""
    shares = [f"{ms_per_s / reference.paced_ms_per_s.median:.2f}"] if reference else []
    n_before = 4 if reference else 2
    return [WAKING, *["-"] * n_before, f"{ms_per_s:.2f}", *shares, "-", "-", "-"]


def _with_share(field: str, row: Row, reference: Row | None) -> list[str]:
    value = getattr(row, field).median
    shares = [f"{value / getattr(reference, field).median:.2f}"] if reference else []
    return [f"{value:.2f}", *shares]


def parts(results: BenchResults) -> Grid:
    """Where the time goes."""
    names = ("front end", "model", "events")
    rows = [
        [
            row.name,
            *(_optional(row.parts_ms_per_s.get(name)) for name in names),
            _range(row.file_ms_per_s),
            _range(row.live_ms_per_s),
        ]
        for row in results.rows
    ]
    columns = ["", *names, "a file, least to most", "live, least to most"]
    return Grid("CPU ms per second of audio, by part, and the spread of the rounds", columns, rows)


def latency(results: BenchResults) -> Grid:
    """How long a sound waits for its score."""
    columns = ["", "a score every", "algorithmic", "computing, median", "99 %", "scores"]
    rows = [
        [
            row.name,
            f"{row.facts.step_ms:g}",
            f"{row.facts.latency_ms:g}",
            f"{row.step_p50_ms:.2f}",
            f"{row.step_p99_ms:.2f}",
            str(row.n_steps),
        ]
        for row in results.rows
    ]
    return Grid("Latency, ms", columns, rows)


def quality(results: BenchResults) -> Grid:
    """Quality beside the least cost of the same model."""
    columns = ["", "ESC-50", "event F1", "found", "onset, s", "false/h, label", "live, CPU ms/s"]
    rows = [
        [
            one.name,
            *(_percent(value) for value in (one.esc50, one.event_f1, one.found)),
            _optional(one.onset_median_s),
            _optional(one.false_alarms_per_h),
            _optional(_least_cost(one, results.rows)),
        ]
        for one in results.quality
    ]
    return Grid("Quality, per cent unless it says otherwise, beside the least cost", columns, rows)


def _least_cost(one: Quality, rows: Sequence[Row]) -> float | None:
    costs = [row.live_ms_per_s.median for row in rows if row.family == one.family]
    return min(costs, default=None)


def capacity(results: BenchResults) -> Grid:
    """How many streams one core keeps up with."""
    columns = ["", "streams in real time", "of the core", "answer, median ms", "99 % ms", "RSS, MB"]
    rows = [
        [
            one.name,
            str(one.capacity.n_streams),
            f"{one.capacity.cpu_share:.0%}",
            f"{one.capacity.p50_ms:.1f}",
            f"{one.capacity.p99_ms:.1f}",
            f"{one.capacity.rss_mb:.0f}",
        ]
        for one in results.scaling
        if one.capacity is not None
    ]
    return Grid("Streams of one process that share a model, on one core", columns, rows)


def curves(results: BenchResults) -> Iterator[Grid]:
    """CPU per second of audio and memory against every amount of work."""
    titles = {
        "streams": "streams",
        "labels": "labels with a threshold",
        "push": "ms of audio per push",
        "hours": "hours of audio",
    }
    for field, title in titles.items():
        yield _curves(results.scaling, field, title)


def _curves(scaling: Sequence[Scaling], field: str, title: str) -> Grid:
    points: dict[str, Sequence[Point]] = {one.name: getattr(one, field) for one in scaling}
    columns = [title, *(f"{name}: CPU ms/s, RSS MB" for name in points)]
    rows = [
        [_amount(field, row[0].x), *(f"{one.ms_per_s:.2f}, {one.rss_mb:.0f}" for one in row)]
        for row in zip(*points.values(), strict=True)
    ]
    return Grid(f"Cost by {title}", columns, rows)


def _amount(field: str, x: float) -> str:
    return f"{x / 3600.0:.3g}" if field == "hours" else f"{x:g}"


def _range(figure: Spread) -> str:
    return f"{figure.low:.2f}-{figure.high:.2f}"


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
