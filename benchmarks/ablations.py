"""What each part of the distillation is worth: one short training per row, all else equal.

    python benchmarks/ablations.py [ROW ...] [--steps 400] [--out docs/ablations]

Each row changes the recipe distill/recipes/esc_free.toml, at size micro, by the settings that the
table prints, so that `edge-audio distill --recipe distill/recipes/esc_free.toml --set ...` trains
it alone. The students have heard no ESC clip; the figure is a logistic regression on their
embedding, official folds, as `edge-audio evaluate` fits it, and mAP on held-out clips. OUT.md and
OUT.svg show the rows, OUT.json keeps them, so that they are not measured again; the short training
makes them comparable with each other only.

The rows of METHODS have been added since, to the recipe that students are made by today, on all
audio, with the sounds that `edge-audio dataset synthesise` adds ($EDGE_AUDIO_DATA). They have a
table of their own, whose first row is that recipe; its figures are of the ESC clips. A method that
did not help has a row in OUT.json with a `note` in place of code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import msgspec
import torch
from matplotlib.figure import Figure

from distill.data.clip_list import read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.clips import evaluate, score_clips, summarise
from distill.evaluation.metrics import Estimate
from distill.evaluation.models import open_models
from distill.evaluation.results import ModelResults
from distill.evaluation.tables import format_estimate
from distill.publish import publish as publish_checkpoint
from distill.training.distill import distill
from distill.training.recipe import read_recipe
from edge_audio.bundle.spec import Spec

RECIPE = Path("distill/recipes/esc_free.toml")
METHODS_RECIPE = Path("distill/recipes/base.toml")
_MN04 = (
    '{kind = "efficientat", checkpoint = "mn04_as_mAP_432.pt", width = 0.4, '
    "layers = [6, 11, 15, 16]}"
)
_SSL = '{kind = "ssl", checkpoint = "runs/ssl-cpu/checkpoint.pt", layers = [1, 2, 3, 4]}'
SHORT = (
    "student.preset=micro-ssm-lti",
    "training.n_mixtures=4096",
    "training.n_warmup_steps=100",
)
METHODS_SHORT = (
    *SHORT,
    "training.batch_size=8",
    "training.learning_rate=8e-3",
    "training.average_decay=0",
)
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


METHODS: dict[str, tuple[str, ...]] = {
    "base": (),
    "attention": ("student.preset=micro-attention",),
    "nested": ("loss.nested=0.5",),
    "nested: its first 2 blocks": ("loss.nested=0.5",),
    "2 blocks alone": ("student.n_blocks=2",),
    "prediction": ("loss.prediction=1",),
}
"""Rows whose names begin alike, up to the colon, are of one run."""
_DEPTHS = {"nested: its first 2 blocks": 2}


class Row(Spec, frozen=True):
    """One measured row. note: how it was made, of a row whose code has not been kept. An encoder
    without a label head has no mean average precision."""

    name: str
    settings: tuple[str, ...]
    n_steps: int
    esc50: Estimate
    esc10: Estimate
    mean_average_precision: Estimate | None
    note: str = ""


class Ablations(Spec, frozen=True):
    """All rows measured so far, and the command."""

    command: str
    rows: tuple[Row, ...] = ()
    methods: tuple[Row, ...] = ()


def measure(name: str, n_steps: int, runs_dir: Path) -> Row:
    """Trains and scores one row."""
    is_method = name in METHODS
    recipe, short = (METHODS_RECIPE, METHODS_SHORT) if is_method else (RECIPE, SHORT)
    changed = (METHODS if is_method else ROWS)[name]
    run = name.partition(":")[0]
    slug = "".join(letter if letter.isalnum() else "-" for letter in run)
    settings = (*short, f"training.n_steps={n_steps}", *changed)
    settings += (f'name="{"method" if is_method else "ablation"}-{n_steps}-{slug}"',)
    checkpoint = distill(read_recipe(recipe, settings), runs_dir, n_processes=1)
    if depth := _DEPTHS.get(name, 0):
        whole, checkpoint = checkpoint, checkpoint.with_name(f"first-{depth}.pt")
        publish_checkpoint(whole, checkpoint, depth)
    model = on_esc(checkpoint) if is_method else evaluate([str(checkpoint)]).models[0]
    return Row(
        name=name,
        settings=changed,
        n_steps=n_steps,
        esc50=model.esc50["embedding"].mean,
        esc10=model.esc10["embedding"].mean,
        mean_average_precision=model.average_precision.mean,
    )


def on_esc(checkpoint: Path) -> ModelResults:
    """As `evaluate`, of the ESC clips alone."""
    [model] = open_models(str(checkpoint))
    clip_list = named_clip_list()
    clips = read_clip_list(clip_list)
    esc = [clip for clip in model.recipe.split.divide(clips)[1] if clip.is_esc]
    found = score_clips([model.scorer], clip_list.parent, esc)
    return summarise((model.name,), model.recipe, clips, esc, found).models[0]


def to_markdown(ablations: Ablations) -> str:
    """The page docs/ablations.md."""
    lines = ["# What each part is worth"]
    for section, rows in ((rows_section, ablations.rows), (methods_section, ablations.methods)):
        if rows:
            lines += ["", *section(ablations)]
    return "\n".join(lines) + "\n"


def rows_section(ablations: Ablations) -> list[str]:
    """Lines of Markdown."""
    rows = ablations.rows
    return [
        f"`{ablations.command}`: `{RECIPE}` with {rows[0].n_steps:,} steps and",
        f"`{' '.join(SHORT)}`, changed by the settings of each",
        "row; one run a row. Per cent, with 95 % intervals;",
        "ESC-50 and ESC-10 by a regression on the frozen embedding of a student that never heard",
        "them. So short a training says what helps early, not what is best in the end.",
        "",
        "![ESC-50 by row](ablations.svg)",
        "",
        *table(rows),
    ]


def methods_section(ablations: Ablations) -> list[str]:
    """Lines of Markdown."""
    names = " ".join(f'"{row.name}"' for row in ablations.methods if row.name in METHODS)
    return [
        "## Methods of the field",
        "",
        f"`{ablations.command} {names}`:",
        f"`{METHODS_RECIPE}` with {ablations.methods[0].n_steps:,} steps and",
        f"`{' '.join(METHODS_SHORT)}`,",
        "changed likewise; mAP is that of the ESC clips. A step has 8 mixtures here, and 32 above.",
        "",
        *table(ablations.methods),
    ]


def table(rows: Sequence[Row]) -> list[str]:
    """Lines of Markdown."""
    lines = ["| | settings | ESC-50 | ESC-10 | mAP |", "|---|---|---|---|---|"]
    for row in rows:
        settings = row.note or ", ".join(f"`{setting}`" for setting in row.settings)
        figures = (row.esc50, row.esc10, row.mean_average_precision)
        cells = (row.name, settings, *(format_estimate(one) if one else "-" for one in figures))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


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
    out.with_suffix(".md").write_text(to_markdown(ablations))
    if ablations.rows:
        draw(ablations.rows, out.with_suffix(".svg"))


def in_order(rows: Sequence[Row], known: Iterable[str]) -> tuple[Row, ...]:
    """The rows as they are listed, and behind them those whose code has not been kept."""
    by_name = {row.name: row for row in rows}
    listed = [by_name[name] for name in known if name in by_name]
    return (*listed, *(row for row in rows if row.note))


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*ROWS, *METHODS]))
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
    rows = [row for row in done.rows if row.n_steps == n_steps]
    methods = [row for row in done.methods if row.n_steps == n_steps]
    for name in names or (*ROWS, *METHODS):
        measured = methods if name in METHODS else rows
        if name not in [row.name for row in measured]:
            measured.append(measure(name, n_steps, runs_dir))
        ablations = Ablations(
            command=command, rows=in_order(rows, ROWS), methods=in_order(methods, METHODS)
        )
        publish(ablations, out)
    print(out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
