"""`edge-audio evaluate`. Torch is imported only once it runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("targets", metavar="CHECKPOINT_OR_BUNDLE...", nargs=-1, required=True)
@click.option(
    "--baseline",
    "baselines",
    type=click.Choice(["teacher", "yamnet"]),
    multiple=True,
    help="Score it beside the others; repeatable. With --soundscapes the teacher, which hears "
    "every second four times, takes an hour.",
)
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for metrics.json and the figures.",
)
@click.option(
    "--soundscapes",
    is_flag=True,
    help="Also compose soundscapes and hours of other sounds, and score events, latency and false "
    "alarms.",
)
@click.option(
    "--folds",
    "fold_recipe",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Fine-tune a checkpoint by this recipe, such as distill/recipes/folds.toml, on four "
    "folds of ESC-50 and score its int8 bundle on the fifth, for all five.",
)
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where the runs of --folds and cached targets go.",
)
def evaluate(
    targets: tuple[str, ...],
    baselines: tuple[str, ...],
    out_dir: Path | None,
    soundscapes: bool,
    fold_recipe: Path | None,
    runs_dir: Path,
) -> None:
    """Score a student or bundle on clips it never heard.

    The training recipe inside the first CHECKPOINT_OR_BUNDLE says which clips those are; it is
    an error if any other has heard one of them. Bundles beside a checkpoint are scored too.
    """
    import torch
    from rich.console import Console

    from distill.evaluation.clips import evaluate as run
    from distill.evaluation.clips import write_report
    from distill.evaluation.tables import describe, describe_streaming, to_streaming_table, to_table

    torch.set_num_threads(1)  # clips are short: a second thread gains next to nothing
    if fold_recipe is not None:
        _evaluate_folds(targets, fold_recipe, runs_dir, out_dir)
        return
    report = run(targets, baselines, soundscapes)
    if out_dir is not None:
        write_report(report, out_dir)
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = 170
    console.print(describe(report), to_table(report), sep="\n", highlight=False)
    if report.streaming is not None:
        facts, table = describe_streaming(report.streaming), to_streaming_table(report.streaming)
        console.print(facts, table, sep="\n", highlight=False)


def _evaluate_folds(
    targets: tuple[str, ...], fold_recipe: Path, runs_dir: Path, out_dir: Path | None
) -> None:
    from rich.console import Console

    from distill.evaluation.fold_tables import describe, to_table, write_report
    from distill.evaluation.folds import evaluate_folds

    if len(targets) != 1:
        raise click.UsageError("--folds takes one checkpoint at a time")
    report = evaluate_folds(Path(targets[0]), fold_recipe, runs_dir, n_processes=1)
    if out_dir is not None:
        write_report(report, out_dir)
    Console().print(describe(report), to_table(report), sep="\n", highlight=False)
