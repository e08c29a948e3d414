"""What binds: audio, steps, or mixtures? Students of two sizes, trained on parts of the audio.

    python benchmarks/scaling_study.py [--cells 'micro-*-steps2000-*'] [--out docs/scaling]

A cell is a size, a share of the recordings, a number of steps (1, 4 and 16 times --steps) and of
mixtures per clip. Each is the recipe, changed by the settings that `--list` prints, and trains
without a strange place; it is scored as `edge-audio evaluate --strange` scores it. OUT.json keeps
what was measured, so that no cell is made twice, and a run that was interrupted goes on. OUT.md and
OUT.svg show the cells that there are, and what four times as much of each is worth, all else
equal: spend where that is most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

import click
import msgspec
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.data.clip_list import Clip, read_clip_list
from distill.data.folders import named_clip_list
from distill.evaluation.metrics import Estimate
from distill.evaluation.results import HITS_AT
from distill.evaluation.strange import evaluate_strange
from distill.evaluation.strange_results import StrangeFigures
from distill.evaluation.tables import format_estimate
from distill.training.distill import distill
from distill.training.recipe import Recipe, read_recipe
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.support.files import write_atomically
from edge_audio.support.pictures import write_picture

RECIPE = Path("distill/recipes/esc_free.toml")
SIZES = ("micro", "tiny")
AUDIO_SHARES = (0.25, 0.5, 1.0)
STEP_FACTORS = (1, 4, 16)
MIXTURES_PER_CLIP = (1, 4)
FACTOR = 4
"""By how much audio, steps and mixtures grow in the table of gains."""

_MARKERS = ("o", "s", "^", "D")


class Cell(Spec, frozen=True):
    """One training of the study. audio_share: of the recordings that may train."""

    size: str
    audio_share: float
    n_steps: int
    mixtures_per_clip: int

    @property
    def name(self) -> str:
        """What `--cells` chooses by, and the run is called after `scaling-`."""
        audio = f"audio{round(100 * self.audio_share)}"
        return f"{self.size}-{audio}-steps{self.n_steps}-mixtures{self.mixtures_per_clip}"


class Score(Spec, frozen=True):
    """Figures of one set of strange places (`strange_results`)."""

    hits: tuple[Estimate, ...]
    mean_average_precision: Estimate | None
    lwlrap: Estimate


class Measured(Spec, frozen=True):
    """A cell, what it trained on, and its figures by set of strange places."""

    cell: Cell
    n_clips: int
    audio_h: float
    n_mixtures: int
    scores: dict[str, Score]


class Study(Spec, frozen=True):
    """All cells measured so far, and by which recipe."""

    command: str
    recipe: str
    measured: tuple[Measured, ...] = ()


def all_cells(n_steps: int) -> list[Cell]:
    """Every cell, those with the fewest steps first."""
    cells = [
        Cell(size=size, audio_share=share, n_steps=factor * n_steps, mixtures_per_clip=mixtures)
        for size, share, factor, mixtures in product(
            SIZES, AUDIO_SHARES, STEP_FACTORS, MIXTURES_PER_CLIP
        )
    ]
    return sorted(cells, key=lambda cell: (cell.n_steps, SIZES.index(cell.size)))


def _order(cell: Cell) -> tuple[int, float, int, int]:
    """Of the rows of the table."""
    return SIZES.index(cell.size), cell.audio_share, cell.mixtures_per_clip, cell.n_steps


def choose(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """Those whose names match one of the patterns, all if there is none. Raises UsageError for a
    pattern that matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            raise UsageError(f"no cell is called {pattern}: they are called like {cells[0].name}")
    return [
        cell
        for cell in cells
        if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]


def settings_of(cell: Cell) -> list[str]:
    """What changes the recipe, but for the mixtures, whose number depends on the clips."""
    return [
        f'name="scaling-{cell.name}"',
        f"student.preset={cell.size}",
        f"training.n_steps={cell.n_steps}",
        f"split.audio_share={cell.audio_share}",
        "split.hold_out_strange=true",
    ]


def recipe_of(cell: Cell, path: Path, clips: Sequence[Clip]) -> tuple[Recipe, list[Clip]]:
    """The cell's recipe and the clips that it trains on."""
    recipe = read_recipe(path, settings_of(cell))
    heard = recipe.split.divide(clips)[0]
    n_mixtures = cell.mixtures_per_clip * len(heard)
    return read_recipe(path, [*settings_of(cell), f"training.n_mixtures={n_mixtures}"]), heard


def measure(cell: Cell, path: Path, runs_dir: Path, n_processes: int) -> Measured:
    """Trains a cell, or goes on training it, and scores it."""
    recipe, heard = recipe_of(cell, path, read_clip_list(named_clip_list()))
    checkpoint = distill(recipe, runs_dir, n_processes)
    (model,) = evaluate_strange([str(checkpoint)]).models
    return Measured(
        cell=cell,
        n_clips=len(heard),
        audio_h=round(sum(clip.duration_s for clip in heard) / 3600.0, 3),
        n_mixtures=recipe.training.n_mixtures,
        scores={name: _score(figures) for name, figures in model.figures.items()},
    )


def _score(figures: StrangeFigures) -> Score:
    precision = figures.average_precision
    return Score(
        hits=figures.hits,
        mean_average_precision=precision.mean if precision else None,
        lwlrap=figures.lwlrap,
    )


def hit_at_5(measured: Measured, name: str) -> Estimate:
    """hit@5 of a set of strange places."""
    return measured.scores[name].hits[HITS_AT.index(5)]


def set_names(measured: Sequence[Measured]) -> list[str]:
    """The sets of strange places that are shown: ESC and all others, or what there is of them."""
    known = list(measured[0].scores)
    return [known[0], known[-1]] if len(known) > 1 else known


Change = Callable[[Cell], Cell]


def _changes() -> dict[str, Change]:
    replace = msgspec.structs.replace
    return {
        f"{FACTOR} x audio": lambda cell: replace(cell, audio_share=FACTOR * cell.audio_share),
        f"{FACTOR} x steps": lambda cell: replace(cell, n_steps=FACTOR * cell.n_steps),
        f"{FACTOR} x mixtures per clip": lambda cell: replace(
            cell, mixtures_per_clip=FACTOR * cell.mixtures_per_clip
        ),
        f"{SIZES[1]} for {SIZES[0]}": lambda cell: replace(cell, size=SIZES[1]),
    }


def gains(measured: Sequence[Measured], name: str) -> Iterator[tuple[str, str, list[float]]]:
    """(change, size, by how much hit@5 rises in each pair of cells that differ by it alone)."""
    known = {one.cell: hit_at_5(one, name).value for one in measured}
    for title, change in _changes().items():
        for size in SIZES:
            pairs = [(cell, change(cell)) for cell in known if cell.size == size]
            rises = [
                known[more] - known[less] for less, more in pairs if more in known and more != less
            ]
            if rises:
                yield title, size, rises


def to_markdown(study: Study, picture: str) -> str:
    """The page OUT.md, with the picture that lies beside it."""
    names = set_names(study.measured)
    return "\n".join(
        [
            "# Audio, steps or capacity",
            "",
            f"`{study.command}`: `{study.recipe}` without a strange place",
            "([quality.md](quality.md)), on a share of the recordings; one run a cell. hit@5 and",
            "mAP of strange places, per cent, with 95 % intervals.",
            "",
            f"![hit@5 by steps]({picture})",
            "",
            *_gain_lines(study.measured, names),
            "",
            *_cell_lines(study.measured, names),
            "",
        ]
    )


def _gain_lines(measured: Sequence[Measured], names: Sequence[str]) -> Iterable[str]:
    yield "Points of hit@5, all else equal: the mean over pairs of cells, the least and the most."
    yield ""
    yield "| | size | pairs | " + " | ".join(names) + " |"
    yield "|---|---|---|" + "---|" * len(names)
    by_set = [list(gains(measured, name)) for name in names]
    for row in zip(*by_set, strict=True):
        title, size, rises = row[0]
        cells = (_span(one) for _, _, one in row)
        yield f"| {title} | {size} | {len(rises)} | " + " | ".join(cells) + " |"


def _span(rises: Sequence[float]) -> str:
    least, most = 100 * min(rises), 100 * max(rises)
    return f"{100 * np.mean(rises):+.1f} ({least:+.1f} to {most:+.1f})"


def _cell_lines(measured: Sequence[Measured], names: Sequence[str]) -> Iterable[str]:
    titles = [f"{what}, {name}" for name in names for what in ("hit@5", "mAP")]
    yield "| size | audio | clips | steps | mixtures per clip | " + " | ".join(titles) + " |"
    yield "|---|---|---|---|---|" + "---|" * len(titles)
    for one in measured:
        cell = one.cell
        figures = [text for name in names for text in _figures(one, name)]
        first = f"{cell.size} | {one.audio_h:.2f} h | {one.n_clips:,} | {cell.n_steps:,}"
        yield f"| {first} | {cell.mixtures_per_clip} | " + " | ".join(figures) + " |"


def _figures(one: Measured, name: str) -> tuple[str, str]:
    precision = one.scores[name].mean_average_precision
    return format_estimate(hit_at_5(one, name)), format_estimate(precision) if precision else "-"


def draw(measured: Sequence[Measured], path: Path) -> None:
    """A panel for each size and set of strange places, a line for each amount of audio; solid
    with the most mixtures per clip, broken with fewer."""
    names = set_names(measured)
    sizes = [size for size in SIZES if any(one.cell.size == size for one in measured)]
    figure = Figure(figsize=(1.0 + 4.0 * len(sizes), 0.8 + 3.0 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(sizes), squeeze=False, sharex=True, sharey="row")
    for row, name in zip(panels, names, strict=True):
        for axes, size in zip(row, sizes, strict=True):
            _draw_lines(axes, [one for one in measured if one.cell.size == size], name)
            axes.set_title(f"{size}, {name}", fontsize=9)
    figure.supxlabel("optimiser steps", fontsize=10)
    figure.supylabel("hit@5, per cent", fontsize=10)
    handles = {
        str(label): handle
        for axes in panels.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(),
        loc="outside upper center", ncols=3, frameon=False, fontsize=8,
    )  # fmt: skip
    write_picture(figure, path)


def _draw_lines(axes: Axes, measured: Sequence[Measured], name: str) -> None:
    for share, mixtures in product(AUDIO_SHARES, MIXTURES_PER_CLIP):
        kind = (share, mixtures)
        points = sorted(
            (one for one in measured if (one.cell.audio_share, one.cell.mixtures_per_clip) == kind),
            key=lambda one: one.cell.n_steps,
        )
        if not points:
            continue
        rows = [hit_at_5(one, name) for one in points]
        values, lows, highs = 100 * np.array([(x.value, x.low, x.high) for x in rows]).T
        index = AUDIO_SHARES.index(share)
        axes.errorbar(
            [one.cell.n_steps for one in points], values, yerr=[values - lows, highs - values],
            color=f"C{index}", marker=_MARKERS[index], markersize=4, linewidth=1.2, capsize=2.0,
            linestyle="-" if mixtures == MIXTURES_PER_CLIP[-1] else "--",
            label=f"{points[0].audio_h:.1f} h, mixtures per clip: {mixtures}",
        )  # fmt: skip
    axes.set_xscale("log")
    steps = sorted({one.cell.n_steps for one in measured})
    axes.set_xticks(steps, [f"{n_steps:,}" for n_steps in steps])
    axes.minorticks_off()
    axes.grid(color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def publish(study: Study, out: Path) -> None:
    """Writes OUT.json, OUT.md and OUT.svg."""
    text = msgspec.json.format(msgspec.json.encode(study))
    write_atomically(out.with_suffix(".json"), text + b"\n")
    picture = out.with_suffix(".svg")
    write_atomically(out.with_suffix(".md"), to_markdown(study, picture.name).encode())
    draw(study.measured, picture)


def read_study(out: Path, command: str, recipe: Path) -> Study:
    """What OUT.json holds. Raises UsageError if that is of another recipe."""
    path = out.with_suffix(".json")
    if not path.exists():
        return Study(command=command, recipe=str(recipe))
    study = msgspec.json.decode(path.read_bytes(), type=Study)
    if study.recipe != str(recipe):
        raise UsageError(f"{path} has cells of {study.recipe}: choose another --out")
    return study


@click.command()
@click.option("--cells", "patterns", multiple=True, metavar="PATTERN", help="Such as 'tiny-*'.")
@click.option("--list", "is_list", is_flag=True, help="Print the cells and their settings only.")
@click.option("--steps", "n_steps", default=2_000, show_default=True, help="Of the least cell.")
@click.option("--recipe", type=click.Path(path_type=Path), default=RECIPE, show_default=True)
@click.option("--processes", "n_processes", default=1, help="How many make teacher targets.")
@click.option("--threads", "n_threads", default=1, show_default=True, help="That train.")
@click.option("--runs-dir", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/scaling"))
def main(
    patterns: tuple[str, ...],
    is_list: bool,
    n_steps: int,
    recipe: Path,
    n_processes: int,
    n_threads: int,
    runs_dir: Path,
    out: Path,
) -> None:
    """Train and score the cells of the study, all by default; those that are done are kept."""
    torch.set_num_threads(n_threads)
    cells = all_cells(n_steps)
    chosen = choose(cells, patterns)
    if is_list:
        for cell in chosen:
            print(cell.name, *settings_of(cell))
        return
    command = f"python benchmarks/scaling_study.py --steps {n_steps}"
    study = read_study(out, command, recipe)
    measured = {one.cell: one for one in study.measured}
    for cell in chosen:
        if cell not in measured:
            measured[cell] = measure(cell, recipe, runs_dir, n_processes)
        rows = tuple(sorted(measured.values(), key=lambda one: _order(one.cell)))
        publish(msgspec.structs.replace(study, measured=rows), out)
    print(out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
