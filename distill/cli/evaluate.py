"""`edge-audio evaluate`. Torch is imported only once it runs."""

from __future__ import annotations

from contextlib import redirect_stdout
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_audio.bundle.spec import SENSITIVITIES, Sensitivity
from edge_audio.support.files import errors_for_people
from edge_audio.support.plain_files import check_folder

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("targets", metavar="CHECKPOINT_OR_BUNDLE...", nargs=-1, required=True)
@click.option(
    "--peer",
    "--baseline",
    "peers",
    type=click.Choice(["teacher", "yamnet"]),
    multiple=True,
    help="Score it beside the others; repeatable. With --soundscapes the teacher, which hears "
    "every second four times, takes an hour.",
)
@click.option(
    "--beside/--no-beside",
    "with_bundles",
    help="Also score the bundles in folders beside a checkpoint.  [default: no-beside]",
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
    "--events",
    "with_events",
    is_flag=True,
    help="Instead of scores, what bundles report of single clips, at --sensitivity. With --strange "
    "what checkpoints, bundles and peers would report, by thresholds that other recordings bring.",
)
@click.option(
    "--sensitivity",
    type=click.Choice(SENSITIVITIES),
    help="With --events the one whose thresholds are taken; --soundscapes has all of them.  "
    "[default: normal]",
)
@click.option(
    "--strange",
    "strange_places",
    is_flag=True,
    help="Score on whole sources that no training has heard (distill/data/strange.toml) instead; "
    "sources that a model has heard are left out for it.",
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
    peers: tuple[str, ...],
    with_bundles: bool,
    out_dir: Path | None,
    soundscapes: bool,
    with_events: bool,
    sensitivity: Sensitivity | None,
    strange_places: bool,
    fold_recipe: Path | None,
    runs_dir: Path,
) -> None:
    """Score a student or bundle on clips it never heard.

    The training recipe inside the first CHECKPOINT_OR_BUNDLE says which clips those are; it is
    an error if any other has heard one of them.
    """
    import torch

    has_folds = fold_recipe is not None
    if soundscapes + (with_events or strange_places) + has_folds > 1:
        raise click.UsageError(
            "--soundscapes, --events or --strange, and --folds: one of them at a time"
        )
    _check_belonging(peers, with_bundles, sensitivity, with_events, strange_places, has_folds)
    if out_dir is not None:  # before hours of scoring
        with errors_for_people(out_dir):
            check_folder(out_dir)
    torch.set_num_threads(1)  # clips are short: a second thread gains next to nothing
    if fold_recipe is not None:
        _evaluate_folds(targets, fold_recipe, runs_dir, out_dir)
    elif with_events and strange_places:
        _evaluate_strange_events(targets, peers, sensitivity or "normal", out_dir)
    elif with_events:
        _evaluate_events(targets, sensitivity or "normal", out_dir)
    elif strange_places:
        _evaluate_strange(targets, peers, with_bundles, out_dir)
    else:
        _evaluate_clips(targets, peers, with_bundles, out_dir, soundscapes)


def _check_belonging(
    peers: tuple[str, ...],
    with_bundles: bool,
    sensitivity: Sensitivity | None,
    with_events: bool,
    strange_places: bool,
    has_folds: bool,
) -> None:
    """Raises UsageError for an option that would be passed over."""
    if peers and (has_folds or (with_events and not strange_places)):
        raise click.UsageError("--peer belongs to scores of clips, --soundscapes and --strange")
    if with_bundles and (has_folds or with_events):
        raise click.UsageError("--beside belongs to scores: leave it out with --events and --folds")
    if sensitivity is not None and not with_events:
        raise click.UsageError("--sensitivity belongs to --events")


def _evaluate_clips(
    targets: tuple[str, ...],
    peers: tuple[str, ...],
    with_bundles: bool,
    out_dir: Path | None,
    soundscapes: bool,
) -> None:
    from distill.evaluation.clips import evaluate as run
    from distill.evaluation.figures import draw_clips
    from distill.evaluation.results import write_results
    from distill.evaluation.tables import describe, describe_streaming, to_streaming_table, to_table

    results = run(targets, peers, soundscapes, with_bundles)
    if out_dir is not None:
        write_results(results, out_dir / "metrics.json")
        draw_clips(results, out_dir)
    _print(describe(results), to_table(results))
    if results.streaming is not None:
        _print(describe_streaming(results.streaming), to_streaming_table(results.streaming))


def _evaluate_events(
    targets: tuple[str, ...], sensitivity: Sensitivity, out_dir: Path | None
) -> None:
    from distill.evaluation.event_tables import describe, to_table
    from distill.evaluation.events import evaluate_events
    from distill.evaluation.results import write_results

    results = evaluate_events(targets, sensitivity)
    if out_dir is not None:
        write_results(results, out_dir / "events.json")
    _print(describe(results), to_table(results))


def _evaluate_strange_events(
    targets: tuple[str, ...],
    peers: tuple[str, ...],
    sensitivity: Sensitivity,
    out_dir: Path | None,
) -> None:
    from distill.evaluation.event_tables import describe_left_out, to_table
    from distill.evaluation.results import write_results
    from distill.evaluation.strange_events import evaluate_strange_events

    results = evaluate_strange_events(targets, peers, sensitivity)
    if out_dir is not None:
        write_results(results, out_dir / "strange_events.json")
    _print(describe_left_out(results.held_out, "held-out clips"), to_table(results.held_out))
    _print(describe_left_out(results.strange, "of strange places"), to_table(results.strange))


def _evaluate_strange(
    targets: tuple[str, ...], peers: tuple[str, ...], with_bundles: bool, out_dir: Path | None
) -> None:
    from distill.evaluation.figures import draw_strange
    from distill.evaluation.results import write_results
    from distill.evaluation.strange import evaluate_strange
    from distill.evaluation.strange_tables import describe, to_table

    results = evaluate_strange(targets, peers, with_bundles)
    if out_dir is not None:
        write_results(results, out_dir / "metrics.json")
        draw_strange(results, out_dir)
    _print(describe(results), to_table(results))


def _evaluate_folds(
    targets: tuple[str, ...], fold_recipe: Path, runs_dir: Path, out_dir: Path | None
) -> None:
    from distill.evaluation.figures import draw_folds
    from distill.evaluation.fold_tables import describe, to_table
    from distill.evaluation.folds import evaluate_folds
    from distill.evaluation.results import write_results

    if len(targets) != 1:
        raise click.UsageError("--folds takes one checkpoint at a time")
    results = evaluate_folds(Path(targets[0]), fold_recipe, runs_dir, 1, export_classifier)
    if out_dir is not None:
        write_results(results, out_dir / "folds.json")
        draw_folds(results, out_dir)
    _print(describe(results), to_table(results))


def _print(facts: str, table: Table) -> None:
    from rich.console import Console

    console = Console(markup=False, emoji=False)
    if not console.is_terminal:  # a file or pipe has no width of its own
        console.width = 170
    console.print(facts, table, sep="\n", highlight=False)


def export_classifier(classifier: Path) -> Path:
    """The int8 bundle that `edge-audio quantize` makes of a checkpoint, in its folder, for the
    runtime that scores it alone.

    The command is found like any other of `edge-audio`, by its entry point: distill stands below
    quantize, and may not import it. What the command prints is no result of this one.
    """
    (entry,) = entry_points(group="edge_audio.commands", name="quantize")
    command: click.Command = entry.load()
    options = ["--name", "int8", "--out", str(classifier.parent), "--to", "litert"]
    with (
        command.make_context("quantize", [str(classifier), *options, "--no-thresholds"]) as context,
        redirect_stdout(StringIO()),
    ):
        command.invoke(context)
    return classifier.parent / "int8"
