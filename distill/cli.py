"""`edge-audio distill` and `edge-audio evaluate`. Torch is imported only once one of them runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--recipe",
    "recipe_path",
    type=click.Path(path_type=Path),
    required=True,
    help="TOML recipe, such as distill/recipes/tiny.toml.",
)
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs, checkpoints and cached teacher targets go.",
)
@click.option(
    "--processes",
    "n_processes",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Processes that make teacher targets, and threads that train.",
)
def distill(recipe_path: Path, runs_dir: Path, n_processes: int) -> None:
    """Train a student from a recipe; run again to resume.

    Reads the labelled audio from $EDGE_AUDIO_DATA and the teacher's checkpoint from
    $EDGE_AUDIO_PEERS. Prints the path of the trained checkpoint.
    """
    import torch

    from distill.recipe import read_recipe
    from distill.train import distill as run

    torch.set_num_threads(n_processes)
    click.echo(run(read_recipe(recipe_path), runs_dir, n_processes))
