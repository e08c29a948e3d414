"""`edge-audio dataset draw-shares`: what a recipe draws how often.

Imports of the training side are put off until the command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from distill.cli.options import settings_option
from edge_audio.cli.console import plain_console, tell
from edge_audio.errors import UsageError
from edge_audio.support.pictures import require_picture, write_picture
from edge_audio.support.text import printable

if TYPE_CHECKING:
    from rich.table import Table

    from distill.training.draws import Odds
    from distill.training.recipe import Recipe


class Shares(NamedTuple):
    """Shares of the labels in the training clips as they are (power 1) and as they are drawn, and
    how many clips that comes to, of n_clips."""

    power: float
    labels: tuple[str, ...]
    before: Odds
    drawn: Odds
    n_clips: int
    n_effective: float


@click.command("draw-shares")
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--top", "n_top", type=click.IntRange(1), default=20, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Also as a picture.")
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where decoded clips, and what the teacher heard in them, are kept.",
)
@settings_option
def draw_shares(
    recipe_path: Path, n_top: int, plot: Path | None, runs_dir: Path, settings: tuple[str, ...]
) -> None:
    """Tell what RECIPE's mixtures will be made of, as its teacher hears it.

    Shares of labels in its training clips, before and after draw.power has tempered them. The
    first call lets the teacher hear every clip of $EDGE_AUDIO_DATA, minutes for some hours; a
    training run needs that too, and uses it.
    """
    from distill.training.recipe import read_recipe

    if plot is not None:
        require_picture(plot)
    shares = _shares(read_recipe(recipe_path, settings), runs_dir)
    if plot is not None:
        _draw(shares, plot)
    plain_console().print(_table(shares, n_top))
    tell(f"{shares.n_clips:,} clips, as varied as {shares.n_effective:,.0f} that are drawn alike")


def _shares(recipe: Recipe, runs_dir: Path) -> Shares:
    from distill.data.clip_list import read_clip_list
    from distill.data.clip_store import ClipStore
    from distill.data.folders import named_clip_list
    from distill.training.draws import (
        DrawConfig,
        draw_odds,
        hear_clips,
        label_shares,
        n_effective_clips,
    )

    clip_list, rate_hz = named_clip_list(), recipe.student.frontend.sample_rate_hz
    clips, folder, cache_dir = read_clip_list(clip_list), clip_list.parent, runs_dir / "cache"
    store = ClipStore.open(folder, clips, rate_hz, cache_dir)
    heard = hear_clips(recipe.teachers, folder, clips, store, rate_hz, cache_dir)
    if heard is None:
        raise UsageError(f"no teacher of {recipe.name} has labels: durations alone decide")
    indices = recipe.split.training_positions(clips)
    probabilities = heard.probabilities[indices]
    durations_s = [clips[index].duration_s for index in indices]
    before, drawn = (
        draw_odds(DrawConfig(power=power), durations_s, probabilities)
        for power in (1.0, recipe.draw.power)
    )
    return Shares(
        power=recipe.draw.power,
        labels=heard.labels,
        before=label_shares(before, probabilities),
        drawn=label_shares(drawn, probabilities),
        n_clips=len(indices),
        n_effective=n_effective_clips(drawn),
    )


def _table(shares: Shares, n_top: int) -> Table:
    """The labels with the largest shares in what is drawn, in per cent."""
    from rich.table import Table

    table = Table(title="what a teacher hears, per cent")
    for heading in ("label", "in the clips, power 1", f"drawn, power {shares.power:g}"):
        table.add_column(heading, justify="left" if heading == "label" else "right")
    for index in (-shares.drawn).argsort(kind="stable")[:n_top]:
        figures = (f"{100 * part[index]:.1f}" for part in (shares.before, shares.drawn))
        table.add_row(printable(shares.labels[index]), *figures)
    return table


def _draw(shares: Shares, path: Path) -> None:
    """Shares of all labels, from the largest down."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(100 * np.sort(shares.before)[::-1], label="in the clips, power 1")
    axes.plot(100 * np.sort(shares.drawn)[::-1], label=f"drawn, power {shares.power:g}")
    axes.set(xlabel="labels by their share", ylabel="share, per cent", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_picture(figure, path, dpi=120)
