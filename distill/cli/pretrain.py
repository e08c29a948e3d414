"""`edge-audio pretrain`. Torch is imported only once it runs."""

from __future__ import annotations

from pathlib import Path

import click

from distill.cli.options import settings_option
from distill.cli.threads import use_threads
from edge_audio.cli.console import plain_console, tell


@click.command()
@click.option(
    "--recipe",
    "recipe_path",
    type=click.Path(path_type=Path),
    help="TOML recipe, such as distill/recipes/pretrain_cpu.toml.",
)
@settings_option
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs, checkpoints and decoded clips go.",
)
@click.option(
    "--workers",
    "n_workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes that draw mixtures; 0 draws them in the training process.",
)
@click.option(
    "--threads",
    "n_threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads that compute on a CPU.",
)
@click.option(
    "--probe",
    "probe_path",
    metavar="CHECKPOINT",
    type=click.Path(path_type=Path),
    help="Instead of training, score this encoder on ESC-50 beside an untrained one.",
)
def pretrain(
    recipe_path: Path | None,
    settings: tuple[str, ...],
    runs_dir: Path,
    n_workers: int,
    n_threads: int,
    probe_path: Path | None,
) -> None:
    """Train a self-supervised teacher without labels; run again to resume.

    Reads audio from $EDGE_AUDIO_DATA, and prints the path of the trained checkpoint, for
    `kind = "ssl"` under [[teachers]] in a recipe of `edge-audio distill`.
    """
    if (recipe_path is None) == (probe_path is None):
        raise click.UsageError("give either --recipe FILE or --probe CHECKPOINT")
    use_threads(n_threads)

    if probe_path is not None:
        from distill.evaluation.probe import probe, to_table

        plain_console().print(to_table(probe(probe_path)))
        return
    from distill.pretraining.pretrain import pretrain as run
    from distill.pretraining.recipe import PretrainRecipe
    from distill.runs.toml import read_toml

    assert recipe_path is not None
    tell(str(run(read_toml(recipe_path, PretrainRecipe, settings), runs_dir, n_workers)))
