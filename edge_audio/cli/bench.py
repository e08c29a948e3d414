"""`edge-audio bench`: what listening costs here, beside other taggers."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edge_audio.backends import BACKEND_NAMES
from edge_audio.bench import pages, plots, tables
from edge_audio.bench.contenders import (
    BundleContender,
    Contender,
    Field,
    baselines,
    own_contenders,
    user_peer,
)
from edge_audio.bench.machine import this_machine
from edge_audio.bench.quality import read_quality
from edge_audio.bench.report import Report, Scaling, load_report, save_report
from edge_audio.bench.runner import BenchError, measure, scale
from edge_audio.errors import UsageError

PACED_S = 20.0
"""How long one core must keep up with its streams."""

file_option = click.Path(path_type=Path, dir_okay=False)
folder_option = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|DIR",
    help="Measure this model; repeatable. Default: all int8 models that ship.",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(BACKEND_NAMES),
    help="On this runtime; repeatable. Default: all that are installed.",
)
@click.option(
    "--baselines/--no-baselines",
    "with_baselines",
    default=True,
    help="Beside YAMNet and the taggers of plugins, where they are there (the default).",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME=FILE",
    help="Beside this model, .tflite or .onnx, whose input is samples at 16 kHz, float32[n] or "
    "float32[1, n]; repeatable.",
)
@click.option(
    "--peer-hop",
    "peer_hop_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds between two windows of a --peer. Default: half a window.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    help="Audio of every pass.",
)
@click.option(
    "--rounds", "n_rounds", type=click.IntRange(min=1), default=3, show_default=True,
    help="All contenders in turn, so many times.",
)  # fmt: skip
@click.option(
    "--scaling",
    "with_scaling",
    is_flag=True,
    help="Also how the cost of the first model grows with streams, labels, pushes and hours.",
)
@click.option(
    "--quality",
    "quality_dir",
    type=folder_option,
    metavar="DIR",
    help="Also show quality, as edge-audio evaluate --soundscapes --out DIR measured it.",
)
@click.option(
    "--from",
    "from_path",
    type=file_option,
    metavar="FILE",
    help="Measure nothing: show what --json kept.",
)
@click.option("--json", "json_path", type=file_option, metavar="FILE", help="Keep all figures.")
@click.option("--markdown", "markdown_path", type=file_option, metavar="FILE", help="Write a page.")
@click.option(
    "--readme",
    "readme_path",
    type=file_option,
    metavar="FILE",
    help=f"Put the main tables between {pages.BEGIN} and {pages.END} of this file.",
)
@click.option("--plot", "plot_dir", type=folder_option, metavar="DIR", help="Draw bench-*.svg.")
def bench(
    models: tuple[str, ...],
    backends: tuple[str, ...],
    with_baselines: bool,
    peers: tuple[str, ...],
    peer_hop_s: float | None,
    seconds: float,
    n_rounds: int,
    with_scaling: bool,
    quality_dir: Path | None,
    from_path: Path | None,
    json_path: Path | None,
    markdown_path: Path | None,
    readme_path: Path | None,
    plot_dir: Path | None,
) -> None:
    """Measure CPU, memory, latency and start-up of models, beside other taggers.

    Each contender runs in processes of its own, with one thread. What cannot be measured is
    reported, the others are measured all the same, and the exit code is 1. Needs neither torch
    nor audio.

    \b
    edge-audio bench
    edge-audio bench --model tiny-int8 --seconds 10 --rounds 1
    edge-audio bench --peer mine=mine.onnx --peer-hop 0.5
    edge-audio bench --scaling --json bench.json --markdown bench.md --plot figures
    edge-audio bench --from bench.json --readme README.md
    """
    check_outputs(json_path, markdown_path, readme_path, plot_dir)
    quality = read_quality(quality_dir) if quality_dir else ()
    if from_path:
        report = load_report(from_path)
    else:
        field = chosen(models, backends, with_baselines, peers, peer_hop_s or 0.0)
        report = run(field, seconds, n_rounds, with_scaling)
    if quality_dir:
        report = msgspec.structs.replace(report, quality=quality)
    show(report)
    if json_path:
        save_report(report, json_path)
    pictures = plots.draw(report, plot_dir) if plot_dir else []
    if markdown_path:
        markdown_path.write_text(pages.page(report, captions(pictures, markdown_path)), "utf-8")
    if readme_path:
        pages.replace_region(readme_path, pages.readme_region(report))
    if report.failed:
        raise SystemExit(1)


def check_outputs(
    json_path: Path | None,
    markdown_path: Path | None,
    readme_path: Path | None,
    plot_dir: Path | None,
) -> None:
    """Checks before minutes of measuring that all outputs can be written. Raises EdgeAudioError."""
    for path in (json_path, markdown_path):
        if path and not path.absolute().parent.is_dir():
            raise UsageError(f"no folder to write {path} to: make it first")
    if readme_path:
        pages.split_region(readme_path)
    if plot_dir:
        plots.require_matplotlib()


def chosen(
    models: tuple[str, ...],
    backends: tuple[str, ...],
    with_baselines: bool,
    peers: tuple[str, ...],
    peer_hop_s: float,
) -> Field:
    """The models and peers to measure. Raises UsageError or BundleError."""
    field = own_contenders(models, backends)
    others = baselines() if with_baselines else Field([], [])
    users: list[Contender] = [user_peer(text, peer_hop_s) for text in peers]
    contenders = [*field.contenders, *others.contenders, *users]
    names = [one.name for one in contenders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two contenders are called {twice[0]!r}: give a --peer another name")
    return Field(contenders, [*field.missing, *others.missing])


def run(field: Field, seconds: float, n_rounds: int, with_scaling: bool) -> Report:
    """Measures, with progress on standard error."""
    machine = this_machine()
    click.echo(f"edge-audio: {machine}", err=True)
    if machine.is_busy:
        click.echo("edge-audio: the machine is busy: absolute times will be too long", err=True)
    for line in field.missing:
        click.echo(f"edge-audio: {line}", err=True)
    n_contenders = len(field.contenders)
    click.echo(f"edge-audio: measuring {n_contenders} contenders, rounds: {n_rounds}", err=True)
    with telling() as tell:
        rows, missing, failed = measure(field.contenders, seconds, n_rounds, tell)
        scaling, broken = grown(field, failed, seconds, tell) if with_scaling else ([], {})
    for line in missing:
        click.echo(f"edge-audio: left out: {line}", err=True)
    return Report(
        command=shlex.join(["edge-audio", *sys.argv[1:]]),
        machine=machine,
        seconds=seconds,
        n_rounds=n_rounds,
        rows=tuple(rows),
        scaling=tuple(scaling),
        missing=(*field.missing, *missing),
        failed={**failed, **broken},
    )


def grown(
    field: Field, failed: dict[str, str], seconds: float, tell: Callable[[str], None]
) -> tuple[list[Scaling], dict[str, str]]:
    """How the cost of the first model grows on each backend, and the errors of those that
    failed."""
    own = [one for one in field.contenders if isinstance(one, BundleContender)]
    scaling: list[Scaling] = []
    broken: dict[str, str] = {}
    for one in own:
        if one.model == own[0].model and one.name not in failed:
            try:
                scaling.append(scale(one, seconds, min(PACED_S, seconds), tell))
            except BenchError as error:
                broken[one.name] = str(error)
    return scaling, broken


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """A spinner on standard error that names what is being measured, if that is a terminal."""
    console = Console(stderr=True, soft_wrap=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        bar = progress.add_task("", total=None)
        yield lambda text: progress.update(bar, description=text)


def show(report: Report) -> None:
    """Tables on standard output, what was left out or broke on standard error."""
    console = Console(soft_wrap=True)
    for grid in tables.grids(report):
        console.print(grid.to_rich())
        console.print()
    for name, reason in report.failed.items():
        click.echo(f"edge-audio: error: {name}: {reason}", err=True)


def captions(pictures: list[Path], page: Path) -> dict[str, str]:
    """Caption -> path as seen from the page."""
    folder = page.absolute().parent
    return {
        plots.CAPTIONS[path.name.removeprefix("bench-")]: os.path.relpath(path.absolute(), folder)
        for path in pictures
    }
