"""What each part of the distillation is worth: one short training per row, all else equal.

    python benchmarks/ablations.py [ROW ...] [--steps 400] [--out docs/ablations]

Each row changes the recipe distill/recipes/esc_free.toml, at size micro, by the settings that the
table prints, so that `edge-audio distill --recipe distill/recipes/esc_free.toml --set ...` trains
it alone. The students have heard no ESC clip; the figure is a logistic regression on their
embedding, official folds, as `edge-audio evaluate` fits it, and mAP on held-out clips. OUT.md and
OUT.svg show the rows, OUT.json keeps them, so that they are not measured again; the short training
makes them comparable with each other only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import torch
from matplotlib.figure import Figure

from distill.evaluation.clips import evaluate
from distill.evaluation.metrics import Estimate
from distill.evaluation.tables import format_estimate
from distill.training.distill import distill
from distill.training.recipe import read_recipe
from edge_audio.bundle.spec import Spec

RECIPE = Path("distill/recipes/esc_free.toml")
_MN04 = (
    '{kind = "efficientat", checkpoint = "mn04_as_mAP_432.pt", width = 0.4, '
    "layers = [6, 11, 15, 16]}"
)
_SSL = '{kind = "ssl", checkpoint = "runs/ssl-cpu/checkpoint.pt", layers = [1, 2, 3, 4]}'
SHORT = ("student.preset=micro", "training.n_mixtures=4096", "training.n_warmup_steps=100")
_PLAIN = ("speed", "reverb", "low_pass", "hum", "overload", "response", "codec")

ROWS: dict[str, tuple[str, ...]] = {
    "layer to layer": (),
    "no distillation": ("loss.clip=0", "loss.frame=0", "loss.layer=0", "loss.human=1"),
    "logits only": ("loss.layer=0",),
    "logits + features": ("loss.n_layers=1",),
    "delay 0 ms": ("student.delay_ms=0",),
    "delay 80 ms": ("student.delay_ms=80",),
    "delay 160 ms": ("student.delay_ms=160",),
    "ssm-selective": ("student.preset=micro-ssm-selective",),
    "mlstm": ("student.preset=micro-mlstm",),
    "slstm": ("student.preset=micro-slstm",),
    "conv": ("student.preset=micro-conv",),
    "no augmentation": (
        *(f"mixture.{field}=0" for field in _PLAIN),
        "mixture.n_sources_weights=[0, 1]",
    ),
    "two teachers: mn04 + own SSL": (f"teachers=[{_MN04}, {_SSL}]",),
    "own SSL teacher alone": (f"teachers=[{_SSL}]",),
    "with masking": ("masking.share=0.5",),
    "with prediction": ("loss.prediction=1",),
}
"""The first row is the recipe itself; mixers are alike in parameters and operations."""


class Row(Spec, frozen=True):
    """One measured row."""

    name: str
    settings: tuple[str, ...]
    n_steps: int
    esc50: Estimate
    esc10: Estimate
    mean_average_precision: Estimate


class Ablations(Spec, frozen=True):
    """All rows measured so far, and the command."""

    command: str
    rows: tuple[Row, ...] = ()


def measure(name: str, n_steps: int, runs_dir: Path) -> Row:
    """Trains and scores one row."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name)
    settings = (*SHORT, f"training.n_steps={n_steps}", *ROWS[name])
    settings += (f'name="ablation-{n_steps}-{slug}"',)
    checkpoint = distill(read_recipe(RECIPE, settings), runs_dir, n_processes=1)
    model = evaluate([str(checkpoint)]).models[0]
    return Row(
        name=name,
        settings=ROWS[name],
        n_steps=n_steps,
        esc50=model.esc50["embedding"].mean,
        esc10=model.esc10["embedding"].mean,
        mean_average_precision=model.average_precision.mean,
    )


def to_markdown(rows: Sequence[Row], command: str) -> str:
    """The page docs/ablations.md."""
    lines = [
        "# What each part is worth",
        "",
        f"`{command}`: `distill/recipes/esc_free.toml` with {rows[0].n_steps:,} steps and",
        f"`{' '.join(SHORT)}`, changed by the settings of each",
        "row; one run a row. Per cent, with 95 % intervals;",
        "ESC-50 and ESC-10 by a regression on the frozen embedding of a student that never heard",
        "them. So short a training says what helps early, not what is best in the end.",
        "",
        "![ESC-50 by row](ablations.svg)",
        "",
        "| | settings | ESC-50 | ESC-10 | mAP |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        settings = ", ".join(f"`{setting}`" for setting in row.settings)
        figures = (row.esc50, row.esc10, row.mean_average_precision)
        cells = (row.name, settings, *(format_estimate(figure) for figure in figures))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """One line per row: ESC-50 with its interval, the recipe itself as a guide line."""
    figure = Figure(figsize=(7.0, 0.8 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for position, row in enumerate(reversed(rows)):
        value, low, high = (100 * x for x in (row.esc50.value, row.esc50.low, row.esc50.high))
        axes.errorbar(value, position, xerr=[[value - low], [high - value]], fmt="o", color="C0")
    axes.axvline(100 * rows[0].esc50.value, color="0.7", linewidth=1.0, zorder=0)
    axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    axes.set_xlabel("ESC-50, frozen embedding, per cent")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def publish(ablations: Ablations, out: Path) -> None:
    """Writes OUT.json, OUT.md and OUT.svg."""
    text = msgspec.json.format(msgspec.json.encode(ablations))
    out.with_suffix(".json").write_bytes(text + b"\n")
    out.with_suffix(".md").write_text(to_markdown(ablations.rows, ablations.command))
    draw(ablations.rows, out.with_suffix(".svg"))


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(ROWS)))
@click.option("--steps", "n_steps", default=400, show_default=True)
@click.option("--runs-dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/ablations"))
def main(names: tuple[str, ...], n_steps: int, runs_dir: Path, out: Path) -> None:
    """Train and score the ablation rows NAMES, all by default."""
    torch.set_num_threads(1)
    path = out.with_suffix(".json")
    command = f"python benchmarks/ablations.py --steps {n_steps}"
    done = (
        msgspec.json.decode(path.read_bytes(), type=Ablations)
        if path.exists()
        else Ablations(command=command)
    )
    measured = {row.name: row for row in done.rows if row.n_steps == n_steps}
    for name in names or ROWS:
        if name not in measured:
            measured[name] = measure(name, n_steps, runs_dir)
        rows = tuple(measured[known] for known in ROWS if known in measured)
        publish(Ablations(command=command, rows=rows), out)
    print(out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
