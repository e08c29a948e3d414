"""Results as pictures; needs the plot extra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edge_audio.bench.result import BenchResults, Row, Scaling
from edge_audio.support.pictures import require_matplotlib, write_picture

COST, LATENCY, SCALING, QUALITY = "cost.svg", "latency.svg", "scaling.svg", "quality.svg"
CAPTIONS = {
    COST: "CPU ms per second of audio",
    LATENCY: "Latency: algorithmic and computing",
    SCALING: "Cost as the work grows",
    QUALITY: "Quality against cost",
}


def draw(results: BenchResults, folder: Path) -> list[Path]:
    """Draws what was measured into the folder, as bench-*.svg. Raises EdgeAudioError without
    matplotlib."""
    require_matplotlib()
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    # The same figures give the same file, so that a version control system sees changes alone.
    with matplotlib.rc_context({"svg.hashsalt": "edge-audio"}):
        return [_save(figure, folder / f"bench-{name}") for name, figure in _figures(results)]


def _save(figure: Any, path: Path) -> Path:
    write_picture(figure, path, metadata={"Date": None})
    return path


def _figures(results: BenchResults) -> Iterable[tuple[str, Any]]:
    if results.rows:
        yield COST, cost(results.rows)
        yield LATENCY, latency(results.rows)
    if results.scaling:
        yield SCALING, scaling(results.scaling)
    if any(one.found is not None for one in results.quality):
        yield QUALITY, quality(results)


def cost(rows: Sequence[Row]) -> Any:
    """One line per candidate, cheapest on top: a file, live and in real time, with the rounds."""
    from matplotlib.figure import Figure

    ordered = sorted(rows, key=lambda row: row.live_ms_per_s.median, reverse=True)
    figure = Figure(figsize=(8.0, 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    fields = {
        "a file": ("file_ms_per_s", "o"),
        "live, 80 ms at a time": ("live_ms_per_s", "D"),
        "in real time": ("paced_ms_per_s", "|"),
    }
    for label, (field, marker) in fields.items():
        spreads = [getattr(row, field) for row in ordered]
        below = [one.median - one.low for one in spreads]
        above = [one.high - one.median for one in spreads]
        axes.errorbar(
            [one.median for one in spreads],
            range(len(ordered)),
            xerr=(below, above),
            fmt=marker,
            elinewidth=0.8,
            markeredgewidth=1.5,
            label=label,
        )
    _log_scale(axes)
    _name_rows(axes, ordered)
    axes.set_xlabel("CPU ms per second of audio, one thread; lines span the rounds")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def latency(rows: Sequence[Row]) -> Any:
    """One line per candidate: algorithmic latency, and the computing on top of it."""
    from matplotlib.figure import Figure

    ordered = sorted(rows, key=lambda row: row.facts.latency_ms, reverse=True)
    figure = Figure(figsize=(8.0, 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    lines = range(len(ordered))
    marks = {
        "algorithmic": ([row.facts.latency_ms for row in ordered], "o"),
        "computing, median": ([row.step_p50_ms for row in ordered], "D"),
        "computing, 99 %": ([row.step_p99_ms for row in ordered], "|"),
    }
    for label, (values, marker) in marks.items():
        axes.plot(values, lines, marker, markersize=6, markeredgewidth=1.5, label=label)
    _log_scale(axes)
    _name_rows(axes, ordered)
    axes.set_xlabel("ms")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def scaling(candidates: Sequence[Scaling]) -> Any:
    """CPU against every amount of work, and memory against streams and hours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    panels = figure.subplots(2, 3).flat
    cpu, memory = ("ms_per_s", "CPU ms per second of audio"), ("rss_mb", "resident memory, MB")
    contents = (
        ("streams", "streams in one process", cpu),
        ("labels", "labels with a threshold", cpu),
        ("push", "ms of audio per push", cpu),
        ("hours", "hours of audio", cpu),
        ("hours", "hours of audio", memory),
        ("streams", "streams in one process", memory),
    )
    for axes, (kind, title, (field, unit)) in zip(panels, contents, strict=True):
        for one in candidates:
            points = getattr(one, kind)
            x = [p.x / 3600.0 if kind == "hours" else p.x for p in points]
            axes.plot(x, [getattr(p, field) for p in points], "o-", markersize=4, label=one.name)
        axes.set(xlabel=title, ylabel=unit)
        axes.set_ylim(bottom=0.0)
        _log_scale(axes)
        axes.grid(color="0.92", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    names = axes.get_legend_handles_labels()
    figure.legend(*names, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def quality(results: BenchResults) -> Any:
    """Events found against the least cost of each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for one in results.quality:
        costs = [r.live_ms_per_s.median for r in results.rows if r.family == one.family]
        if not costs or one.found is None:
            continue
        axes.plot(min(costs), 100.0 * one.found, "o", markersize=7)
        axes.annotate(f"  {one.name}", (min(costs), 100.0 * one.found), va="center", fontsize=9)
    axes.set(xlabel="CPU ms per second of audio, live", ylabel="events found, %")
    axes.margins(x=0.3)
    _log_scale(axes)
    axes.grid(color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _log_scale(axes: Any) -> None:
    """Gives axes a logarithmic x axis with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8)


def _name_rows(axes: Any, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=9)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
