"""The metrics.csv and watch.csv of a training run, and their curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from edge_audio.support.files import errors_for_people, file_draft
from edge_audio.support.pictures import write_picture

METRICS_NAME = "metrics.csv"
CURVES_NAME = "curves.png"
WATCH_NAME = "watch.csv"
WATCH_CURVES_NAME = "watch.png"


class MetricsLog:
    """`metrics.csv`: one row per logged step. A resumed run drops the rows that the interrupted
    one wrote at and after the first step logged anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []  # as in the file; none until the first write has read it

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a row, in the disk's hands when this returns. Values may differ from row to
        row: a new column is empty further up, a missing one stays empty."""
        if not self._columns or not values.keys() <= set(self._columns):
            self._rewrite(step, values)
        row = [f"{values[name]:.6g}" if name in values else "" for name in self._columns[1:]]
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow([step, *row])

    def _rewrite(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps the rows before `step`, under a header that has all columns."""
        rows = [row for row in read_metrics(self.path) if row["step"] < step]
        known = dict.fromkeys(["step", *self._columns, *(name for row in rows for name in row)])
        self._columns = list({**known, **dict.fromkeys(values)})
        with (
            errors_for_people(self.path),
            file_draft(self.path) as draft,
            draft.open("w", newline="") as file,
        ):
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows({**row, "step": int(row["step"])} for row in rows)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a `metrics.csv`, without their empty fields; a last row that was cut off is left
    out, and a missing file has none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [{name: float(text) for name, text in row.items() if text} for row in rows]


def draw_curves(run_dir: Path, table: str = METRICS_NAME, picture: str = CURVES_NAME) -> None:
    """Draws `curves.png` from `metrics.csv`, or other ones, one panel per column."""
    from matplotlib.figure import Figure

    rows = read_metrics(run_dir / table)
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    if not names:
        return
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = Figure(figsize=(4.0 * n_columns, 2.4 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flat
    for panel in panels[len(names) :]:
        panel.remove()
    for panel, name in zip(panels, names, strict=False):
        points = [(row["step"], row[name]) for row in rows if name in row]
        panel.plot(*zip(*points, strict=True), linewidth=1.0)
        panel.set_title(name, fontsize="medium")
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("step", fontsize="medium")
    write_picture(figure, run_dir / picture, dpi=120)
