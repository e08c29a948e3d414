"""Figures of an evaluation, drawn into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from distill.evaluation.fold_results import FoldResults
from distill.evaluation.metrics import RECALLS, Estimate
from distill.evaluation.results import HITS_AT, ClipResults, ModelResults
from distill.evaluation.strange_results import StrangeModel, StrangeResults
from distill.evaluation.streaming import StreamingModel
from distill.evaluation.tables import format_estimate
from edge_audio.support.pictures import write_picture

_MARKERS = ("o", "D", "s", "^", "v", "P")
_MAX_LATENCY_S = 5.0


def draw_clips(results: ClipResults, folder: Path) -> None:
    """average_precision.png, precision_recall.png and reliability.png; latency.png and
    false_alarms.png if soundscapes were heard; confusion.png of the first model if all folds of
    ESC-50 were held out."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_average_precision(results.models, folder / "average_precision.png")
    draw_precision_recall(results.models, folder / "precision_recall.png")
    draw_reliability(results.models, folder / "reliability.png")
    if results.streaming is not None:
        draw_latency(results.streaming.models, folder / "latency.png")
        draw_false_alarms(results.streaming.models, folder / "false_alarms.png")
    first = results.models[0]
    if first.esc50:
        features, accuracy = next(iter(first.esc50.items()))
        classes = sorted(accuracy.confusion)
        counts = np.array([[accuracy.confusion[i].get(j, 0) for j in classes] for i in classes])
        title = f"{first.name}, regression on {features}: {_percent(accuracy.mean)}"
        draw_confusion(counts, classes, title, folder / "confusion.png")


def draw_folds(results: FoldResults, folder: Path) -> None:
    """confusion.png, of the int8 bundles of all folds."""
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{results.recipe}: ESC-50 {format_estimate(results.bundle.esc50)} %, int8 streaming"
    draw_confusion(np.array(results.confusion), results.classes, title, folder / "confusion.png")


def draw_strange(results: StrangeResults, folder: Path) -> None:
    """strange.png: hit@5 of every set of clips, a group of bars with a bar for each model."""
    folder.mkdir(parents=True, exist_ok=True)
    height = 0.8 / len(results.models)
    figure = Figure(
        figsize=(8.0, 1.4 + len(results.sets) * (0.25 + 0.2 * len(results.models))),
        layout="constrained",
    )
    axes = figure.subplots()
    for index, model in enumerate(results.models):
        _draw_bars(axes, model, list(results.sets), index * height, height, f"C{index}")
    names = [f"{name}\n{one.n_clips:,} clips" for name, one in results.sets.items()]
    axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2.0, names, fontsize=8)
    axes.set_ylim(len(names) - 0.1, -0.3)
    axes.set(xlim=(0.0, 100.0), xlabel="clips with a listed label among the five highest, per cent")
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _common_legend(figure, axes)
    write_picture(figure, folder / "strange.png", dpi=120)


def _draw_bars(
    axes: Axes, model: StrangeModel, names: Sequence[str], offset: float, height: float, color: str
) -> None:
    """A bar in every set's group, with its interval, or the word that the model has heard it."""
    position = HITS_AT.index(5)
    known = {
        row: model.figures[name].hits[position]
        for row, name in enumerate(names)
        if name in model.figures
    }
    values = 100.0 * np.array([(one.value, one.low, one.high) for one in known.values()])
    value, low, high = values.reshape(-1, 3).T
    places = np.array(list(known), float) + offset
    axes.barh(places, value, 0.9 * height, color=color, label=model.name)
    axes.errorbar(
        value, places, xerr=[value - low, high - value],
        fmt="none", ecolor="0.25", elinewidth=1.0, capsize=2.0,
    )  # fmt: skip
    for row in set(range(len(names))) - known.keys():
        axes.text(1.0, row + offset, "heard", va="center", fontsize=7, color=color)


def draw_average_precision(models: Sequence[ModelResults], path: Path) -> None:
    """One line per class, sorted by the first model's average precision, one mark per model."""
    first = models[0].average_precision.classes
    names = sorted(first, key=first.__getitem__)
    figure = Figure(figsize=(8.0, 1.6 + 0.17 * len(names)), layout="constrained")
    axes = figure.subplots()
    values = {
        f"{model.name}: mAP {model.average_precision.mean.value:.3f}": [
            model.average_precision.classes[name] for name in names
        ]
        for model in models
    }
    _draw_dots(axes, names, values)
    axes.set(xlim=(0.0, 1.01), xlabel="average precision, held-out clips")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    write_picture(figure, path, dpi=120)


def draw_precision_recall(models: Sequence[ModelResults], path: Path) -> None:
    """One panel per label, one curve per model."""
    labels = list(models[0].precision)
    n_columns = 3
    n_rows = max(1, -(-len(labels) // n_columns))
    figure = Figure(figsize=(9.0, 0.6 + 2.8 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, label in zip(panels.flat, labels, strict=False):
        for model in models:
            axes.plot(RECALLS, model.precision[label], label=model.name, linewidth=1.5)
        axes.set_title(label, fontsize=9)
        axes.set(xlim=(0.0, 1.02), ylim=(0.0, 1.02), xticks=np.linspace(0.0, 1.0, 6))
        axes.grid(color="0.92", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels.flat[len(labels) :]:
        axes.set_visible(False)
    figure.supxlabel("recall, held-out clips", fontsize=10)
    figure.supylabel("precision", fontsize=10)
    _common_legend(figure, panels.flat[0])
    write_picture(figure, path, dpi=120)


def draw_reliability(models: Sequence[ModelResults], path: Path) -> None:
    """One curve per model; a mark's area is how many scores it stands for."""
    figure = Figure(figsize=(6.0, 6.2), layout="constrained")
    axes = figure.subplots()
    axes.plot((0.0, 1.0), (0.0, 1.0), color="0.8", linewidth=1.0, zorder=0)
    for index, model in enumerate(models):
        if (known := model.reliability) is None:
            continue
        label = f"{model.name}: off by {100 * known.error:.0f} %"
        axes.plot(known.scores, known.right, color=f"C{index}", linewidth=1.5, label=label)
        areas = 4.0 + 300.0 * np.array(known.counts) / sum(known.counts)
        axes.scatter(known.scores, known.right, areas, color=f"C{index}", alpha=0.5)
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0), xlabel="score of a label", ylabel="share listed")
    axes.grid(color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    _common_legend(figure, axes, n_columns=2)
    write_picture(figure, path, dpi=120)


def draw_latency(models: Sequence[StreamingModel], path: Path) -> None:
    """One histogram per model, one below the other, with median and 95th percentile."""
    figure = Figure(figsize=(8.0, 0.8 + 1.7 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), 1, sharex=True, squeeze=False)[:, 0]
    bins = np.linspace(0.0, _MAX_LATENCY_S, 51)
    for index, (axes, model) in enumerate(zip(panels, models, strict=True)):
        latency = model.latency
        values = np.minimum(latency.values_s, _MAX_LATENCY_S - 1e-6)
        axes.hist(values, bins, color=f"C{index}", alpha=0.75)
        marks = {"median": latency.median_s, "95 %": latency.p95_s}
        for style, (name, value) in zip(("-", "--"), marks.items(), strict=True):
            if value is None:
                continue
            axes.axvline(value, color="0.2", linewidth=1.2, linestyle=style)
            axes.annotate(
                f" {name} {value:.2f} s", (value, 0.98), xycoords=("data", "axes fraction"),
                va="top", fontsize=8,
            )  # fmt: skip
        axes.set_title(f"{model.name}: {_percent(latency.found)} of events found", fontsize=9)
        axes.set_ylabel("events")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set(
        xlim=(0.0, _MAX_LATENCY_S),
        xlabel="audio from true onset to reported start, s (last bar: all that took longer)",
    )
    write_picture(figure, path, dpi=120)


def draw_false_alarms(models: Sequence[StreamingModel], path: Path) -> None:
    """One line per label with an alarm, the most frequent on top, one mark per model in which it
    is on."""
    known = {label for model in models for label in model.false_alarms.labels}
    rates = {
        label: [model.false_alarms.labels.get(label, np.nan) for model in models]
        for label in sorted(known)
    }
    total = {label: float(np.nansum(row)) for label, row in rates.items()}
    names = sorted((label for label in total if total[label]), key=total.__getitem__)
    figure = Figure(figsize=(8.0, 1.8 + 0.2 * len(names)), layout="constrained")
    axes = figure.subplots()
    values = {
        f"{model.name}: {model.false_alarms.each.value:.2f} per hour and label": [
            rates[name][index] for name in names
        ]
        for index, model in enumerate(models)
    }
    _draw_dots(axes, names, values)
    hours = models[0].false_alarms.hours
    axes.set(xlabel=f"false alarms per hour, in {hours:.1f} h")
    axes.set_xlim(left=-0.015 * axes.get_xlim()[1])
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    write_picture(figure, path, dpi=120)


def draw_confusion(
    counts: NDArray[np.integer[Any]], classes: Sequence[str], title: str, path: Path
) -> None:
    """counts [n, n]: rows are true classes, columns answers. Only mistakes are coloured, the
    right answers stand as numbers on the diagonal."""
    mistakes = counts * (1 - np.eye(len(counts), dtype=int))
    names = [name.replace("_", " ") for name in classes]
    size = 2.4 + 0.17 * len(names)
    figure = Figure(figsize=(size + 1.0, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.where(mistakes > 0, mistakes, np.nan), cmap="YlOrRd", vmin=0)
    for row, column in np.argwhere(counts):
        is_right = row == column
        axes.text(
            column, row, counts[row, column], ha="center", va="center", fontsize=6,
            color="0.35" if is_right or mistakes[row, column] < mistakes.max() / 2 else "white",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=90)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xticks(np.arange(len(names)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names)) - 0.5, minor=True)
    axes.grid(which="minor", color="0.93", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="answer", ylabel="true class", title=title)
    figure.colorbar(image, label="clips taken for another class", shrink=0.5)
    write_picture(figure, path, dpi=120)


def _draw_dots(axes: Axes, names: Sequence[str], values: dict[str, list[float]]) -> None:
    """One row per name, one series of marks per entry of values."""
    rows = range(len(names))
    axes.hlines(rows, 0.0, 1.0, color="0.92", linewidth=0.8, zorder=0,
                transform=axes.get_yaxis_transform())  # fmt: skip
    for marker, (label, row) in zip(cycle(_MARKERS), values.items(), strict=False):
        axes.scatter(row, rows, s=20, alpha=0.8, marker=marker, label=label)
    axes.set_yticks(rows, names, fontsize=7)
    axes.set_ylim(-1.0, len(names))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _common_legend(figure: Figure, axes: Axes, n_columns: int = 3) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=n_columns, frameon=False)


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} %"
