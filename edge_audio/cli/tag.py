"""`edge-audio tag`: what is in a recording, or in an archive of them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from edge_audio.archive.job import FileTags, Job, Tagged, make_job, samples_of, tag_file
from edge_audio.archive.part_file import look_at
from edge_audio.archive.run import Archive
from edge_audio.archive.search import duration_s, expand
from edge_audio.archive.tables import TABLES
from edge_audio.archive.writers import WRITERS
from edge_audio.bundle.spec import Sensitivity
from edge_audio.cli.console import remark
from edge_audio.cli.options import (
    LabelChoice,
    backend_option,
    channel_option,
    label_options,
    model_option,
    policy_options,
    sounds_option,
    with_policy,
)
from edge_audio.cli.progress import ProgressBar
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import SourceError, UsageError
from edge_audio.labels.find import find_label
from edge_audio.listening.events_config import EventsConfig
from edge_audio.sinks.base import MAX_TOP
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.sources.resample import MIX, check_channel
from edge_audio.tagging.tagger import Tagger

DEFAULT_TOP = 5
MAX_JOBS = 1024
LONG_S = 30.0  # less audio than this is tagged before a progress bar could be read


@click.command()
@click.argument(
    "paths", metavar="FILES...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@model_option
@sounds_option
@backend_option
@channel_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(WRITERS), case_sensitive=False),
    help="Of standard output: text, the default, for reading; jsonl: one object per file; csv: "
    "one row per event; audacity: a label track of one file.",
)
@click.option(
    "--top",
    "n_top",
    type=click.IntRange(0, MAX_TOP),
    default=DEFAULT_TOP,
    show_default=True,
    metavar="K",
    help="How many labels of the whole file (not in csv), by the highest score in any step.",
)
@label_options
@policy_options
@click.option(
    "--explain",
    "explained",
    multiple=True,
    metavar="LABEL",
    help="Say below each file why this label becomes an event or not, a line a second; repeatable. "
    "The file is heard twice.",
)
@click.option(
    "--jobs",
    "n_jobs",
    type=click.IntRange(1, MAX_JOBS),
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
    sounds: str | None,
    backend: str,
    channel: str | None,
    format_name: str | None,
    n_top: int,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    thresholds: tuple[str, ...],
    sensitivity: Sensitivity | None,
    explained: tuple[str, ...],
    n_jobs: int | None,
    out: Path | None,
    resume: bool,
    cluster: str | None,
    **policy: Any,
) -> None:
    """Tag recordings: top labels and events of each file.

    Reads WAV, FLAC, OGG, MP3 and what else libsndfile knows, with the extra media also those of
    phones, cameras and videos; a folder stands for the audio files in it and below. A file that
    cannot be read, or not to its end, is reported, what was heard of it and the others are tagged
    all the same, and the exit code is 1.

    \b
    edge-audio tag doorbell.wav
    edge-audio tag street.wav --explain Dog
    edge-audio tag recordings/ --format csv > events.csv
    edge-audio tag street.flac --format audacity > labels.txt
    edge-audio tag *.mp3 --format jsonl --top 10 | jq .top[0].label
    edge-audio tag /archive --out events.parquet
    edge-audio tag /archive --out events.parquet --cluster tcp://10.0.0.5:8786
    """
    check_belonging(format_name, n_jobs, out, resume, cluster)
    if explained and (out or cluster or n_jobs or (format_name or "text") != "text"):
        raise UsageError("--explain belongs to --format text, without --out, --jobs and --cluster")
    choice = LabelChoice(only, exclude, thresholds, sensitivity)
    reported = with_policy(EventsConfig(), policy)
    job = choose_job(model, backend, choice, n_top, reported, chosen_channel(channel), sounds)
    files = list(expand(paths, remark))
    if out:
        n_failed = write_table(out, job, files, not resume, choose_run(job, n_jobs, cluster))
    else:
        is_alone = not cluster and (n_jobs or 1) == 1
        others = None if is_alone else choose_run(job, n_jobs, cluster)
        labels = known_labels(job, explained)
        n_failed = print_tags(format_name or "text", job, files, others, labels)
    if n_failed:
        raise SystemExit(1)


def check_belonging(
    format_name: str | None, n_jobs: int | None, out: Path | None, resume: bool, cluster: str | None
) -> None:
    """Raises UsageError for options that do not go together."""
    if out and format_name:
        raise UsageError("--out has the format of its name: leave out --format")
    if cluster and n_jobs:
        raise UsageError("--cluster takes as many files at once as it has workers, and no --jobs")
    if not resume and not out:
        raise UsageError("--restart belongs to --out")


Run = Callable[[Iterable[str]], Iterator[Tagged]]


def chosen_channel(text: str | None) -> str:
    """Raises UsageError for what is no channel."""
    try:
        return MIX if text is None else check_channel(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def choose_job(
    model: str,
    backend: str,
    choice: LabelChoice,
    n_top: int,
    reported: EventsConfig,
    channel: str = MIX,
    sounds: str | None = None,
) -> Job:
    """What the options ask for. Raises UsageError or BundleError."""
    bundle = load_with_sounds(model, sounds)
    manifest = bundle.manifest
    events = choice.events(manifest.events, manifest.labels)
    ranked = choice.top(manifest.labels, n_top).labels
    policy, gate_dbfs = reported.policy(), reported.gate_dbfs
    return make_job(bundle, backend, events, n_top, ranked, policy, gate_dbfs, channel)


def choose_run(job: Job, n_jobs: int | None, cluster: str | None) -> Run:
    """Who tags the files: processes of this machine, one per CPU unless n_jobs says how many, or a
    cluster."""
    if cluster:
        from edge_audio.archive.cluster import tag_on_cluster

        return partial(tag_on_cluster, job, address=cluster)
    from edge_audio.archive.pool import n_cpus, tag_in_processes

    return partial(tag_in_processes, job, n_jobs=n_jobs or n_cpus())


def write_table(out: Path, job: Job, files: list[Path], restart: bool, run: Run) -> int:
    """Tags what has not been tagged yet, and writes OUT. Returns how many files failed."""
    with Archive(out, job, map(look_at, files), restart) as archive:
        if n_done := len(archive.files) - len(archive.waiting):
            remark(f"{n_done} files were tagged before")
        try:
            n_failed = tag_waiting(archive, run)
        except KeyboardInterrupt:
            kept = f"{len(archive.part)} of {len(archive.files)} files"
            again = "the same command goes on from there"
            remark(f"stopped: {archive.part.path} has {kept}; {again}")
            raise
        archive.finish()
    return n_failed


def tag_waiting(archive: Archive, run: Run) -> int:
    """Tags the files that wait, with a bar, and sums up. Returns how many failed."""
    n_failed, heard_s, start_s = 0, 0.0, time.monotonic()
    sizes = {file.path: file.n_bytes for file in archive.waiting}
    # Of bytes: to ask a million files how long they are would take as long as tagging some of them
    with ProgressBar("tagging", total=sum(sizes.values())) as progress:
        for path, tags in run(sizes):
            archive.add(path, tags)
            n_failed += print_error(tags, progress)
            heard_s += tags.duration_s
            speed = heard_s / max(time.monotonic() - start_s, 1e-3)
            progress.advance(sizes[path], f"{heard_s / 3600:.1f} h, {speed:.0f} x real time")
    seconds = max(time.monotonic() - start_s, 1e-3)
    remark(
        f"tagged {len(sizes)} files, {heard_s / 3600:.2f} h of audio, in "
        f"{seconds:.0f} s ({heard_s / seconds:.0f} x real time); {n_failed} failed"
    )
    return n_failed


def print_tags(
    format_name: str,
    job: Job,
    files: list[Path],
    run: Run | None,
    explained: Sequence[str] = (),
) -> int:
    """Tags files and prints what is in them, in their order. Returns how many failed.

    run: None = in this process, with a bar that moves within a file. explained: see `explain`.
    """
    if format_name == "audacity" and len(files) != 1:
        raise UsageError(f"an audacity label track is of one file, not {len(files)}")
    writer = WRITERS[format_name](sys.stdout)
    explaining = job.open(explained) if explained else None
    paths, n_failed = [str(path) for path in files], 0
    total_s = sum(map(duration_s, files))
    with ProgressBar("tagging", total_s, is_wanted=total_s > LONG_S) as progress:
        if run is None:
            encoded = msgspec.msgpack.encode(job)
            results: Iterable[FileTags] = (tag_file(encoded, x, progress.advance) for x in paths)
        else:
            from edge_audio.archive.pool import in_order

            results = in_order(paths, run(dict.fromkeys(paths)))
        for path, tags in zip(paths, results, strict=True):
            n_failed += print_error(tags, progress)
            if run is not None:
                progress.advance(tags.duration_s)
            if tags.was_heard:
                writer.write(tags)
                if explaining is not None:
                    explain(explaining, path, job.channel, explained)
    return n_failed


def known_labels(job: Job, named: Sequence[str]) -> list[str]:
    """Labels as the model spells them. Raises UsageError for unknown ones."""
    known = load_with_sounds(job.model, job.sounds).manifest.labels if named else ()
    return [find_label(label, known) for label in named]


def explain(tagger: Tagger, path: str, channel: str, labels: Sequence[str]) -> None:
    """Prints why labels, which the tagger explains, became events of a file or not."""
    from edge_audio.cli.live.explain import Explained, ExplainSink

    tagger.reset()
    step_s = tagger.bundle.manifest.model.step_s
    sink = ExplainSink(sys.stdout, tagger.labels, Explained(labels, step_s))
    sink.read(tagger.label_state)
    with contextlib.suppress(SourceError):  # a file that breaks off, of which was told
        for samples in samples_of(path, tagger.sample_rate_hz, channel):
            for time_s, scores, events in tagger.steps(samples):
                for event in events:
                    sink.on_event(event)
                sink.on_scores(time_s, scores)
    sink.close()


def print_error(tags: FileTags, progress: ProgressBar) -> bool:
    """Reports a file that could not be tagged, or not to its end, above the bar. Returns whether
    it is one."""
    if tags.error:
        progress.print(f"edge-audio: error: {tags.error}")
    return bool(tags.error)
