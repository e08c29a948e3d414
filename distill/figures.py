"""Figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from distill.evaluate import ModelReport

_MARKERS = ("o", "D", "s", "^", "v", "P")


def draw_average_precision(models: Sequence[ModelReport], path: Path) -> None:
    """One line per class, sorted by the first model's average precision, one mark per model."""
    first = models[0].average_precision.classes
    names = sorted(first, key=first.__getitem__)
    figure = Figure(figsize=(8.0, 1.6 + 0.17 * len(names)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(names))
    axes.hlines(rows, 0.0, 1.0, color="0.92", linewidth=0.8, zorder=0)
    for index, model in enumerate(models):
        values = [model.average_precision.classes[name] for name in names]
        mean = model.average_precision.mean.value
        marker = _MARKERS[index % len(_MARKERS)]
        axes.scatter(
            values, rows, s=20, alpha=0.8, marker=marker, label=f"{model.name}: mAP {mean:.3f}"
        )
    axes.set_yticks(rows, names, fontsize=7)
    axes.set(xlim=(0.0, 1.01), ylim=(-1.0, len(names)), xlabel="average precision, held-out clips")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
