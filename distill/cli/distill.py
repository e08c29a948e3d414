"""`edge-audio distill`. Torch is imported only once it runs."""

from __future__ import annotations

from pathlib import Path

import click

from distill.cli.options import settings_option
from distill.cli.threads import use_threads
from edge_audio.cli.console import tell


@click.command()
@click.option(
    "--recipe",
    "recipe_path",
    type=click.Path(path_type=Path),
    required=True,
    help="TOML recipe, such as distill/recipes/esc_free.toml.",
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
@settings_option
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Run the Python code that comes with the recipe's transformers teachers.",
)
def distill(
    recipe_path: Path,
    runs_dir: Path,
    n_processes: int,
    settings: tuple[str, ...],
    trust_remote_code: bool,
) -> None:
    """Train a student from a recipe; run again to resume.

    Reads the labelled audio from $EDGE_AUDIO_DATA and the teacher's checkpoint from
    $EDGE_AUDIO_PEERS. Prints the path of the trained checkpoint.
    """
    use_threads(n_processes)
    from distill.evaluation.watch import StrangeWatch
    from distill.training.distill import distill as run
    from distill.training.recipe import read_recipe, trust_teachers

    recipe = read_recipe(recipe_path, settings)
    if trust_remote_code:
        recipe = trust_teachers(recipe)
    tell(str(run(recipe, runs_dir, n_processes, open_watch=StrangeWatch)))
