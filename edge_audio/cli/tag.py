"""`edge-audio tag`: what is in a recording, or in an archive of them."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
import soundfile
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from edge_audio.archive.job import FileTags, Job, make_job, tag_file
from edge_audio.archive.part_file import look_at
from edge_audio.archive.pool import Tagged, in_order, tag_in_processes
from edge_audio.archive.run import Archive
from edge_audio.archive.tables import EVENT_COLUMNS, TABLES, file_record, rounded
from edge_audio.bundle.store import load_bundle
from edge_audio.cli.options import LabelChoice, backend_option, label_options, model_option
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import UsageError
from edge_audio.support.text import clock

FORMATS = ("text", "jsonl", "csv", "audacity")  # keys of WRITERS
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".aif",
    ".oga",
    ".opus",
}
DEFAULT_TOP = 5
LONG_S = 30.0  # less audio than this is tagged before a progress bar could be read


@click.command()
@click.argument(
    "paths", metavar="FILES...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@model_option
@backend_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="Of standard output: text, the default, for reading; jsonl: one object per file; csv: "
    "one row per event; audacity: a label track of one file.",
)
@click.option(
    "--top",
    "n_top",
    type=click.IntRange(min=0),
    default=DEFAULT_TOP,
    show_default=True,
    metavar="K",
    help="How many labels of the whole file (not in csv), by the highest score in any step.",
)
@label_options
@click.option(
    "--jobs",
    "n_jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tag so many files at once, in a process each. Default: 1; with --out one per CPU.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"Write a table instead of standard output ({', '.join(TABLES)}). A run that was cut "
    "short goes on where it stopped when the command is given again.",
)
@click.option(
    "--resume/--restart",
    default=True,
    help="With --out: go on with a run that was cut short (the default), or tag everything anew "
    "and replace what is there.",
)
@click.option(
    "--cluster",
    "cluster",
    metavar="ADDRESS",
    help="Tag on the workers of the Dask scheduler at this address, which must see the files "
    "under the same paths.",
)
@quiet_libraries()
def tag(
    paths: tuple[Path, ...],
    model: str,
    backend: str,
    format_name: str | None,
    n_top: int,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    thresholds: tuple[str, ...],
    n_jobs: int | None,
    out: Path | None,
    resume: bool,
    cluster: str | None,
) -> None:
    """Tag recordings: top labels and events of each file.

    Reads WAV, FLAC, OGG, MP3 and what else libsndfile knows; a folder stands for the audio
    files in it and below. A file that cannot be read is reported, the others are tagged all the
    same, and the exit code is 1.

    \b
    edge-audio tag doorbell.wav
    edge-audio tag recordings/ --format csv > events.csv
    edge-audio tag street.flac --format audacity > labels.txt
    edge-audio tag *.mp3 --format jsonl --top 10 | jq .top[0].label
    edge-audio tag /archive --out events.parquet
    edge-audio tag /archive --out events.parquet --cluster tcp://10.0.0.5:8786
    """
    if out and format_name:
        raise UsageError("--out has the format of its name: leave out --format")
    if cluster and n_jobs:
        raise UsageError("--cluster takes as many files at once as it has workers, and no --jobs")
    if not resume and not out:
        raise UsageError("--restart belongs to --out")
    job = choose_job(model, backend, LabelChoice(only, exclude, thresholds), n_top)
    files = list(expand(paths))
    run = choose_run(job, n_jobs or (n_cpus() if out else 1), cluster)
    if out:
        n_failed = write_table(out, job, files, not resume, run)
    else:
        in_process = run if cluster or (n_jobs or 1) > 1 else None
        n_failed = print_tags(format_name or "text", job, files, in_process)
    if n_failed:
        raise SystemExit(1)


Run = Callable[[Iterable[str]], Iterator[Tagged]]


def choose_job(model: str, backend: str, choice: LabelChoice, n_top: int) -> Job:
    """What the options ask for. Raises UsageError or BundleError."""
    bundle = load_bundle(model)
    manifest = bundle.manifest
    events = choice.events(manifest.events, manifest.labels)
    ranked = choice.top(manifest.labels, n_top).labels
    return make_job(bundle, backend, events, n_top, ranked)


def choose_run(job: Job, n_jobs: int, cluster: str | None) -> Run:
    """Who tags the files: processes of this machine, or a cluster."""
    if cluster:
        from edge_audio.archive.cluster import tag_on_cluster

        return partial(tag_on_cluster, job, address=cluster)
    return partial(tag_in_processes, job, n_jobs=n_jobs)


def n_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_table(out: Path, job: Job, files: list[Path], restart: bool, run: Run) -> int:
    """Tags what has not been tagged yet, and writes OUT. Returns how many files failed."""
    with Archive(out, job, map(look_at, files), restart) as archive:
        if n_done := len(archive.files) - len(archive.waiting):
            click.echo(f"edge-audio: {n_done} files were tagged before", err=True)
        try:
            n_failed = tag_waiting(archive, run)
        except KeyboardInterrupt:
            kept = f"{len(archive.part)} of {len(archive.files)} files"
            again = "the same command goes on from there"
            click.echo(f"edge-audio: stopped: {archive.part.path} has {kept}; {again}", err=True)
            raise
        archive.finish()
    return n_failed


def tag_waiting(archive: Archive, run: Run) -> int:
    """Tags the files that wait, with a bar, and sums up. Returns how many failed."""
    n_failed, heard_s, start_s = 0, 0.0, time.monotonic()
    sizes = {file.path: file.n_bytes for file in archive.waiting}
    with archive_bar(sum(sizes.values())) as progress:
        for path, tags in run(sizes):
            archive.add(path, tags)
            n_failed += print_error(tags, progress)
            heard_s += tags.duration_s
            speed = heard_s / (time.monotonic() - start_s)
            for bar in progress.task_ids:
                shown = f"{heard_s / 3600:.1f} h, {speed:.0f} x real time"
                progress.update(bar, advance=sizes[path], speed=shown)
    seconds = time.monotonic() - start_s
    click.echo(
        f"edge-audio: tagged {len(sizes)} files, {heard_s / 3600:.2f} h of audio, in "
        f"{seconds:.0f} s ({heard_s / seconds:.0f} x real time); {n_failed} failed",
        err=True,
    )
    return n_failed


def print_tags(format_name: str, job: Job, files: list[Path], run: Run | None) -> int:
    """Tags files and prints what is in them, in their order. Returns how many failed.

    run: None = in this process, with a bar that moves within a file.
    """
    if format_name == "audacity" and len(files) != 1:
        raise UsageError(f"an audacity label track is of one file, not {len(files)}")
    writer = WRITERS[format_name]()
    paths, n_failed = [str(path) for path in files], 0
    with progress_bar(files) as progress:

        def advance(seconds: float) -> None:
            for bar in progress.task_ids:
                progress.advance(bar, seconds)

        if run is None:
            encoded = msgspec.msgpack.encode(job)
            results: Iterable[FileTags] = (tag_file(encoded, path, advance) for path in paths)
        else:
            results = in_order(paths, run(dict.fromkeys(paths)))
        for tags in results:
            n_failed += print_error(tags, progress)
            if run is not None:
                advance(tags.duration_s)
            if not tags.error:
                writer.write(tags)
    return n_failed


def print_error(tags: FileTags, progress: Progress) -> bool:
    """Reports a file that could not be tagged, above the bar. Returns whether it is one."""
    if tags.error:
        progress.console.print(f"edge-audio: error: {tags.error}", highlight=False, markup=False)
    return bool(tags.error)


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are; folders as the audio files in and below them, sorted."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise UsageError(f"no audio files in {path}")
        yield from found


def progress_bar(paths: list[Path]) -> Progress:
    """A bar on stderr over all seconds of audio, where somebody sees it and has to wait."""
    total_s = sum(duration_s(path) for path in paths)
    columns = (TextColumn("tagging"), BarColumn(), TimeRemainingColumn())
    return bar_on_stderr(columns, total_s, is_wanted=total_s > LONG_S)


def archive_bar(n_bytes: int) -> Progress:
    """A bar on stderr over the bytes of an archive: to ask a million files how long they are
    would take as long as tagging some of them."""
    columns = (
        TextColumn("tagging"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    return bar_on_stderr(columns, n_bytes, speed="")


def bar_on_stderr(
    columns: Iterable[ProgressColumn], total: float, is_wanted: bool = True, **fields: Any
) -> Progress:
    """A bar where somebody sees it; what else is printed on its console goes above it."""
    console = Console(stderr=True, soft_wrap=True)
    is_shown = console.is_terminal and is_wanted
    progress = Progress(*columns, console=console, transient=True, disable=not is_shown)
    progress.add_task("tagging", total=total, **fields)
    return progress


def duration_s(path: Path) -> float:
    """Length as the file states it; 0 for a file that cannot be read, which shows later."""
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.SoundFileError, OSError, UnicodeEncodeError):
        return 0.0


class Writer(Protocol):
    """Prints what was found in one file after the other."""

    def write(self, tags: FileTags) -> None: ...


class TextWriter:
    """For reading: per file the top labels by highest score, then the events."""

    def write(self, tags: FileTags) -> None:
        lines = [f"{tags.path}  ({tags.duration_s:.1f} s)"]
        if tags.top:
            lines.append("  highest score in any step:")
            lines += [f"    {score:.2f}  {label}" for label, score in tags.top]
        lines.append("  events:" if tags.segments else "  no events")
        lines += [
            f"    {clock(s.start_s):>9} - {clock(s.end_s):>9}  {s.label}  {s.score:.2f}"
            for s in tags.segments
        ]
        click.echo("\n".join(lines))


class JsonLinesWriter:
    """One object per file, see `file_record`: path, duration_s, top: [{label, score}], events:
    [{start_s, end_s, label, score}]."""

    def write(self, tags: FileTags) -> None:
        click.echo(json.dumps(file_record(tags), ensure_ascii=False))


class CsvWriter:
    """A header, then one row per event."""

    def __init__(self) -> None:
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._csv.writerow(EVENT_COLUMNS)

    def write(self, tags: FileTags) -> None:
        self._csv.writerows([tags.path, *rounded(s).values()] for s in tags.segments)
        sys.stdout.flush()


class AudacityWriter:
    """Audacity's label track (File > Import > Labels): start, end, text between tabs."""

    def write(self, tags: FileTags) -> None:
        for s in tags.segments:
            click.echo(f"{s.start_s:.3f}\t{s.end_s:.3f}\t{s.label}")


WRITERS: dict[str, Callable[[], Writer]] = {
    "text": TextWriter,
    "jsonl": JsonLinesWriter,
    "csv": CsvWriter,
    "audacity": AudacityWriter,
}
