"""`edge-audio bench`: what listening costs here, beside other taggers."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from edge_audio.backends import BACKEND_NAMES
from edge_audio.bench import pages, plots, tables
from edge_audio.bench.candidates import (
    BundleCandidate,
    Candidate,
    Candidates,
    known_peers,
    own_candidates,
    peer_file,
)
from edge_audio.bench.machine import this_machine
from edge_audio.bench.quality import read_quality
from edge_audio.bench.result import BenchResults, Scaling, Spread, load_results, save_results
from edge_audio.bench.runner import BenchError, measure, scale
from edge_audio.bundle.spec import Sensitivity
from edge_audio.cli.console import plain_console, remark
from edge_audio.cli.options import FiniteRange, sensitivity_option
from edge_audio.cli.progress import ProgressBar
from edge_audio.errors import UsageError
from edge_audio.support.files import write_atomically
from edge_audio.support.pictures import require_matplotlib

PACED_S = 20.0
"""How long one core must keep up with its streams."""


def renamed(option: str) -> str:
    """Options as they are called now: --baselines was the name of --peers."""
    return option.replace("baselines", "peers")


file_option = click.Path(path_type=Path, dir_okay=False)
folder_option = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"token_normalize_func": renamed})
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|DIR",
    help="Measure this model; repeatable. Default: all int8 models that ship.",
)
@sensitivity_option
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(BACKEND_NAMES),
    help="On this runtime; repeatable. Default: all that are installed.",
)
@click.option(
    "--peers/--no-peers",
    "with_peers",
    default=True,
    help="Beside YAMNet and the taggers of plugins, where they are there (the default).",
)
@click.option(
    "--peer",
    "peer_files",
    multiple=True,
    metavar="NAME=FILE",
    help="Beside this model, .tflite or .onnx, whose input is samples at 16 kHz, float32[n] or "
    "float32[1, n]; repeatable.",
)
@click.option(
    "--peer-hop",
    "peer_hop_s",
    type=FiniteRange(min=0, min_open=True),
    metavar="S",
    help="Seconds between two windows of a --peer. Default: half a window.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=1),
    default=120.0,
    show_default=True,
    help="Audio of every pass.",
)
@click.option(
    "--rounds", "n_rounds", type=click.IntRange(min=1), default=3, show_default=True,
    help="All models in turn, so many times.",
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
    with_peers: bool,
    peer_files: tuple[str, ...],
    peer_hop_s: float | None,
    sensitivity: Sensitivity | None,
    seconds: float,
    n_rounds: int,
    with_scaling: bool,
    quality_dir: Path | None,
    from_path: Path | None,
    **outputs: Path | None,
) -> None:
    """Measure CPU, memory, latency and start-up of models, beside other taggers.

    Each runs in processes of its own, with one thread. What cannot be measured is
    reported, the others are measured all the same, and the exit code is 1. Needs neither torch
    nor audio.

    \b
    edge-audio bench
    edge-audio bench --model tiny-int8 --seconds 10 --rounds 1
    edge-audio bench --peer mine=mine.onnx --peer-hop 0.5
    edge-audio bench --scaling --json bench.json --markdown bench.md --plot figures
    edge-audio bench --from bench.json --readme README.md
    """
    destinations = Outputs(**outputs)
    destinations.check()
    quality = read_quality(quality_dir) if quality_dir else ()
    if from_path:
        results = load_results(from_path)
    else:
        own = own_candidates(models, backends, sensitivity)
        candidates = beside(own, with_peers, peer_files, peer_hop_s or 0.0)
        results = run(candidates, seconds, n_rounds, with_scaling)
    if quality_dir:
        results = msgspec.structs.replace(results, quality=quality)
    show(results)
    destinations.write(results)
    if results.failed:
        raise SystemExit(1)


@dataclass(frozen=True)
class Outputs:
    """Where the results go, besides standard output."""

    json_path: Path | None
    markdown_path: Path | None
    readme_path: Path | None
    plot_dir: Path | None

    def check(self) -> None:
        """Checks before minutes of measuring that all outputs can be written. Raises
        EdgeAudioError."""
        for path in (self.json_path, self.markdown_path):
            if path and not path.absolute().parent.is_dir():
                raise UsageError(f"no folder to write {path} to: make it first")
        if self.readme_path:
            pages.split_region(self.readme_path)
        if self.plot_dir:
            require_matplotlib()

    def write(self, results: BenchResults) -> None:
        """Raises EdgeAudioError or OSError."""
        if self.json_path:
            save_results(results, self.json_path)
        pictures = plots.draw(results, self.plot_dir) if self.plot_dir else []
        if self.markdown_path:
            page = pages.page(results, captions(pictures, self.markdown_path))
            write_atomically(self.markdown_path, page.encode())
        if self.readme_path:
            pages.replace_region(self.readme_path, pages.readme_region(results))


def beside(
    own: Candidates, with_peers: bool, peer_files: tuple[str, ...], peer_hop_s: float
) -> Candidates:
    """All that is measured: our own models and others. Raises UsageError."""
    peers = known_peers() if with_peers else Candidates([], [])
    files: list[Candidate] = [peer_file(text, peer_hop_s) for text in peer_files]
    present = [*own.present, *peers.present, *files]
    names = [one.name for one in present]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two models are called {twice[0]!r}: give a --peer another name")
    return Candidates(present, [*own.missing, *peers.missing])


def run(candidates: Candidates, seconds: float, n_rounds: int, with_scaling: bool) -> BenchResults:
    """Measures, with progress on standard error."""
    machine = this_machine()
    remark(str(machine))
    if machine.is_busy:
        remark("the machine is busy: absolute times will be too long")
    for line in candidates.missing:
        remark(line)
    n_models = len(candidates.present)
    remark(f"measuring {n_models} models, rounds: {n_rounds}")
    with ProgressBar("") as progress:
        tell = progress.describe
        rows, missing, failed, waking = measure(candidates.present, seconds, n_rounds, tell)
        scaling, broken = grown(candidates, failed, seconds, tell) if with_scaling else ([], {})
    for line in missing:
        remark(f"left out: {line}")
    return BenchResults(
        command=shlex.join(["edge-audio", *sys.argv[1:]]),
        machine=machine,
        seconds=seconds,
        n_rounds=n_rounds,
        rows=tuple(rows),
        waking_ms_per_s=Spread.of(waking),
        scaling=tuple(scaling),
        missing=(*candidates.missing, *missing),
        failed={**failed, **broken},
    )


def grown(
    candidates: Candidates, failed: dict[str, str], seconds: float, tell: Callable[[str], None]
) -> tuple[list[Scaling], dict[str, str]]:
    """How the cost of the first model grows on each backend, and the errors of those that
    failed."""
    own = [one for one in candidates.present if isinstance(one, BundleCandidate)]
    scaling: list[Scaling] = []
    broken: dict[str, str] = {}
    for one in own:
        if one.model == own[0].model and one.name not in failed:
            try:
                scaling.append(scale(one, seconds, min(PACED_S, seconds), tell))
            except BenchError as error:
                broken[one.name] = str(error)
    return scaling, broken


def show(results: BenchResults) -> None:
    """Tables on standard output, what was left out or broke on standard error."""
    console = plain_console()
    for grid in tables.grids(results):
        console.print(grid.to_rich())
        console.print()
    for name, reason in results.failed.items():
        remark(f"error: {name}: {reason}")


def captions(pictures: list[Path], page: Path) -> dict[str, str]:
    """Caption -> path as seen from the page."""
    folder = page.absolute().parent
    return {
        plots.CAPTIONS[path.name.removeprefix("bench-")]: os.path.relpath(path.absolute(), folder)
        for path in pictures
    }
