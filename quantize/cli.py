"""`edge-audio quantize`, `edge-audio export` and `edge-audio calibrate`. Torch and the exporters
are imported only once one of them runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from edge_audio.backends import BACKEND_NAMES
from edge_audio.cli.console import remark, tell
from edge_audio.cli.options import FiniteRange
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import UsageError
from edge_audio.labels.find import read_labels
from edge_audio.support.text import printable
from quantize.export.runtimes import runtimes_for
from quantize.schemes import DEFAULT_SCHEME, SCHEMES

if TYPE_CHECKING:
    from edge_audio.bundle.store import Bundle
    from quantize.build import BuildConfig

Command = TypeVar("Command", bound=Callable[..., Any])

SCHEME_HELP = "; ".join(f"{name}: {scheme.description}" for name, scheme in SCHEMES.items())

scheme_option = click.option(
    "--scheme",
    type=click.Choice(list(SCHEMES)),
    default=DEFAULT_SCHEME,
    show_default=True,
    help=f"{SCHEME_HELP}.",
)
ranges_option = click.option(
    "--ranges",
    "ranges_path",
    type=click.Path(path_type=Path, exists=True),
    help="Clip list, or folder of a manifest.csv, of the clips on which static and narrow-state "
    "schemes measure ranges; default $EDGE_AUDIO_DATA.",
)
former_ranges_option = click.option(
    "--calibrate", "former_path", type=click.Path(path_type=Path, exists=True), hidden=True
)
metrics_option = click.option(
    "--metrics",
    "metrics_paths",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="metrics.json of `edge-audio evaluate`, to be quoted in manifest and card; repeatable.",
)
accuracy_option = click.option(
    "--accuracy",
    is_flag=True,
    help="Also score checkpoint and bundle on the clips that the recipe held out.",
)


def runtimes_option(default: str) -> Callable[[Command], Command]:
    """--to, by default what `default` says."""
    return click.option(
        "--to",
        "runtimes",
        type=click.Choice(BACKEND_NAMES),
        multiple=True,
        help="What to export for, native being the C engine of firmware; repeatable. "
        f"Default: {default}.",
    )


@dataclass(frozen=True)
class ExportOptions:
    """What quantize and export have in common. ranges_path: the clips that activation
    ranges are measured on. has_accuracy: whether to score checkpoint and bundle."""

    scheme: str
    ranges_path: Path | None
    has_accuracy: bool


def export_options(command: Command) -> Command:
    """Adds the options of `ExportOptions`, which the command gets as `options`."""

    @scheme_option
    @ranges_option
    @former_ranges_option
    @accuracy_option
    @wraps(command)
    def wrapper(
        *args: Any,
        scheme: str,
        ranges_path: Path | None,
        former_path: Path | None,
        accuracy: bool,
        **kwargs: Any,
    ) -> Any:
        if ranges_path and former_path:
            raise UsageError("--calibrate is the former name of --ranges: give one of them")
        options = ExportOptions(scheme, ranges_path or former_path, accuracy)
        return command(*args, options=options, **kwargs)

    return cast("Command", wrapper)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the bundle, such as tiny-int8.")
@runtimes_option("all but executorch, whose file would take our bundles past their size limits")
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("edge_audio/models"),
    show_default=True,
    help="Folder that gets the bundle's folder.",
)
@click.option(
    "--thresholds/--no-thresholds",
    "has_thresholds",
    default=True,
    show_default=True,
    help="Choose event thresholds on the clips that the recipe held out.",
)
@metrics_option
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where --qat-steps trains, and keeps decoded clips.",
)
@click.option(
    "--qat-steps",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Fine-tune that many steps with rounded weights first; needs what distill needs.",
)
@export_options
@quiet_libraries()
def quantize(
    checkpoint: Path,
    name: str,
    runtimes: tuple[str, ...],
    out_dir: Path,
    has_thresholds: bool,
    metrics_paths: tuple[Path, ...],
    runs_dir: Path,
    qat_steps: int,
    options: ExportOptions,
) -> None:
    """Turn a CHECKPOINT into a bundle to be published.

    Exports the streaming step, compares every file with PyTorch over 1,500 steps, chooses the
    event thresholds, writes manifest, golden and card, and replays the golden on every
    installed runtime. Fails, and writes nothing, if a runtime disagrees.

    \b
    Examples:
      edge-audio quantize runs/tiny/checkpoint.pt --name tiny-int8
      edge-audio quantize distill/checkpoints/tiny.pt --name tiny-static --scheme static --out build
    """
    from distill.calibration.thresholds import CalibrationConfig
    from quantize.build import BuildConfig
    from quantize.publish.quotes import quote_metrics
    from quantize.qat import fine_tune

    if qat_steps:
        checkpoint = fine_tune(checkpoint, qat_steps, runs_dir, n_processes=1)
    config = BuildConfig(
        name=name,
        scheme=options.scheme,
        runtimes=runtimes or published_for(options.scheme),
        ranges_path=options.ranges_path,
        thresholds=CalibrationConfig() if has_thresholds else None,
        metrics=[quote_metrics(path) for path in metrics_paths],
    )
    build(checkpoint, config, out_dir, options.has_accuracy)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@runtimes_option("all that can express scheme and input")
@click.option(
    "--labels",
    "labels_name",
    default="all",
    show_default=True,
    metavar="FILE|all",
    help="File with one label a line: only those rows of the head are kept.",
)
@click.option(
    "--out",
    "out_path",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The bundle's folder, whose name becomes the bundle's name.",
)
@click.option(
    "--like",
    default="",
    metavar="NAME|DIR",
    help="Take the event thresholds of this bundle; without it all labels are off by default.",
)
@click.option(
    "--input",
    "model_input",
    type=click.Choice(["frames", "samples"]),
    default="frames",
    show_default=True,
    help="samples: the log-mel front end becomes part of the graph, for apps that have none.",
)
@export_options
@quiet_libraries()
def export(
    checkpoint: Path,
    runtimes: tuple[str, ...],
    labels_name: str,
    out_path: Path,
    like: str,
    model_input: Literal["frames", "samples"],
    options: ExportOptions,
) -> None:
    """Export a CHECKPOINT for chosen runtimes and labels, to be embedded.

    Writes a whole bundle: model files, manifest, golden and card. The same checkpoint and options
    give the same model files, byte by byte.

    \b
    Examples:
      edge-audio export distill/checkpoints/tiny.pt --like tiny-int8 --to executorch --out app/tiny
      edge-audio export distill/checkpoints/micro.pt --like micro-int8 --labels ten.txt --out ten
    """
    from quantize.build import BuildConfig

    config = BuildConfig(
        name=out_path.name,
        scheme=options.scheme,
        runtimes=runtimes,
        labels=() if labels_name == "all" else read_labels(Path(labels_name)),
        model_input=model_input,
        ranges_path=options.ranges_path,
        like=like,
    )
    build(checkpoint, config, out_path.parent, options.has_accuracy)


@click.command()
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...")
@click.option(
    "--alarms-per-hour",
    type=FiniteRange(0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="What each label may report at most, on average, where it cannot be expected, at the "
    "sensitivity normal; a tenth of that at quiet, five times as much at eager.",
)
@click.option(
    "--max-wrong",
    type=FiniteRange(0.0, 1.0),
    default=0.1,
    show_default=True,
    help="Share of single clips in which any label at all may be reported wrongly, at the "
    "sensitivity normal; 0.3 times that at quiet, 2.5 times at eager.",
)
@metrics_option
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that gets the folders of the new bundles; by default they replace the old ones.",
)
@click.option(
    "--in-place",
    is_flag=True,
    help="Also replace bundles that come with edge-audio, in its installation.",
)
@click.option(
    "--adjudicated",
    "moments_dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a sample of the moments that mn04 and YAMNet confirm there as WAV, to listen to.",
)
@quiet_libraries()
def calibrate(
    bundles: tuple[str, ...],
    alarms_per_hour: float,
    max_wrong: float,
    metrics_paths: tuple[Path, ...],
    out_dir: Path | None,
    in_place: bool,
    moments_dir: Path | None,
) -> None:
    """Choose the thresholds of a BUNDLE anew.

    Composes soundscapes, and 20 hours of sounds a minute apart, of the clips that the bundle's
    recipe held out, and hears each clip by itself; takes the thresholds with most right clips that
    keep to so many wrong ones and false alarms; and rewrites manifest and card. Where
    $EDGE_AUDIO_PEERS has mn04 and YAMNet, what both hear is no false alarm, and clips without
    labels count for what mn04 does not hear in them.

    Further BUNDLEs, of the same student for other runtimes, get the same thresholds. Bundles that
    come with edge-audio stay as they are: --out writes new ones.

    \b
    Examples:
      edge-audio calibrate app/tiny --alarms-per-hour 0.02
      edge-audio calibrate tiny-int8 --out mine --alarms-per-hour 0.02
    """
    from distill.calibration.thresholds import CalibrationConfig
    from edge_audio.bundle.store import load_bundle
    from quantize.publish.quotes import quote_metrics
    from quantize.publish.summary import adjudication_lines, clip_lines, labels_on
    from quantize.publish.thresholds import recalibrate

    config = CalibrationConfig(max_alarms_per_hour=alarms_per_hour, max_wrong=max_wrong)
    metrics = [quote_metrics(path) for path in metrics_paths]
    found = [load_bundle(name) for name in bundles]
    if out_dir is None and not in_place:
        refuse_shipped(found)
    made = recalibrate(found, config, metrics, out_dir, remark, moments_dir)
    facts = made[0].manifest.provenance
    for line in (*adjudication_lines(facts["adjudication"]), *clip_lines(facts["single_clips"])):
        tell(line)
    for bundle in made:
        tell(f"{bundle.path}: {labels_on(bundle.manifest)}")


def refuse_shipped(bundles: Iterable[Bundle]) -> None:
    """Raises UsageError for a bundle that comes with the package."""
    from edge_audio.bundle.store import is_shipped

    for bundle in bundles:
        if is_shipped(bundle):
            raise UsageError(
                f"{bundle.manifest.name} comes with edge-audio: --out FOLDER writes the new bundle "
                "there, --in-place changes the installation"
            )


def published_for(scheme: str) -> tuple[str, ...]:
    """The runtimes that a bundle gets files for unless --to names others."""
    return tuple(name for name in runtimes_for(SCHEMES[scheme]) if name != "executorch")


def build(checkpoint: Path, config: BuildConfig, out_dir: Path, accuracy: bool) -> None:
    """Builds a bundle, with progress on standard error and its path on standard output."""
    import torch

    from quantize.build import build_bundle
    from quantize.publish.summary import labels_on

    torch.set_num_threads(1)  # steps are short: a second thread costs more than it gains

    def report(text: str) -> None:
        click.echo(printable(text), err=True)

    bundle = build_bundle(checkpoint, config, out_dir, report)
    facts = bundle.manifest.provenance
    total_kb = sum(entry.n_bytes for entry in bundle.manifest.files.values()) / 1000
    tell(f"{bundle.path}: {total_kb:.0f} kB, largest error {facts['max_error_to_pytorch']}")
    click.echo(labels_on(bundle.manifest))
    if accuracy:
        print_accuracy(checkpoint, bundle.path)


def print_accuracy(checkpoint: Path, bundle_path: Path) -> None:
    """Prints the accuracy on held-out clips before and after."""
    from rich.console import Console

    from distill.evaluation.clips import evaluate
    from distill.evaluation.tables import describe, to_table

    report = evaluate((str(checkpoint), str(bundle_path)))
    Console(markup=False, emoji=False).print(
        describe(report), to_table(report), sep="\n", highlight=False
    )
