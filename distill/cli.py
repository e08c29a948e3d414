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


@click.command()
@click.argument("targets", metavar="CHECKPOINT_OR_BUNDLE...", nargs=-1, required=True)
@click.option("--baselines", is_flag=True, help="Score the teacher and YAMNet beside it.")
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for metrics.json and the figure.",
)
def evaluate(targets: tuple[str, ...], baselines: bool, out_dir: Path | None) -> None:
    """Score a student or bundle on clips it never heard.

    The training recipe inside the first CHECKPOINT_OR_BUNDLE says which clips those are; it is
    an error if any other has heard one of them. Bundles beside a checkpoint are scored too.
    """
    import torch
    from rich.console import Console

    from distill.evaluate import evaluate as run
    from distill.evaluate import write_report
    from distill.report import describe, to_table

    torch.set_num_threads(1)  # clips are short: a second thread gains next to nothing
    report = run(targets, baselines)
    if out_dir is not None:
        write_report(report, out_dir)
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = 170
    console.print(describe(report), to_table(report), sep="\n", highlight=False)
