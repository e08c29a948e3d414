"""`edge-audio tag`: what is in a recording."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import click
import numpy as np
import soundfile
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from edge_audio.cli.options import (
    LabelChoice,
    backend_option,
    label_options,
    model_option,
    open_tagger,
)
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.sinks import Segment, SegmentSink, TopLabels, clock, scored
from edge_audio.sources import AudioFile
from edge_audio.tagger import Tagger

FORMATS = ("text", "jsonl", "csv", "audacity")  # keys of WRITERS
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".aif",
    ".oga",
    ".opus",
}
DEFAULT_TOP = 5
LONG_S = 30.0  # less audio than this is tagged before a progress bar could be read


@dataclass(frozen=True)
class FileTags:
    """What a file holds. top: labels with the highest score that each reached in any step."""

    path: Path
    duration_s: float
    top: list[tuple[str, float]]
    segments: list[Segment]


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
    default="text",
    show_default=True,
    help="text for reading; jsonl: one object per file; csv: one row per event; audacity: a "
    "label track of one file.",
)
@click.option(
    "--top",
    "n_top",
    type=click.IntRange(min=0),
    default=DEFAULT_TOP,
    show_default=True,
    metavar="K",
    help="How many labels of the whole file (text, jsonl), by the highest score in any step.",
)
@label_options
@quiet_libraries()
def tag(
    paths: tuple[Path, ...],
    model: str,
    backend: str,
    format_name: str,
    n_top: int,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    thresholds: tuple[str, ...],
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
    """
    choice = LabelChoice(only, exclude, thresholds)
    files = list(expand(paths))
    if format_name == "audacity" and len(files) != 1:
        raise UsageError(f"an audacity label track is of one file, not {len(files)}")
    tagger = open_tagger(model, backend, choice)
    writer = WRITERS[format_name]()
    failures = 0
    with progress_bar(files) as progress:
        for path in files:
            try:
                tags = tag_file(path, tagger, choice.top(tagger.labels, n_top), progress)
            except EdgeAudioError as error:
                failures += 1
                progress.console.print(f"edge-audio: error: {error}", highlight=False, markup=False)
            else:
                writer.write(tags)
    if failures:
        raise SystemExit(1)


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


def tag_file(path: Path, tagger: Tagger, top: TopLabels, progress: Progress) -> FileTags:
    """Hears one file from start to end. Raises UsageError or SourceError."""
    tagger.reset()
    highest = np.zeros(len(tagger.labels), np.float32)
    sink = SegmentSink()
    with AudioFile(path, tagger.sample_rate_hz, block_ms=5000.0) as source:
        for block in source.blocks():
            for _, scores, events in tagger.stream(block.samples):
                np.maximum(highest, scores, out=highest)
                for event in events:
                    sink.on_event(event)
            for task in progress.task_ids:
                progress.advance(task, len(block.samples) / tagger.sample_rate_hz)
    for event in tagger.flush():
        sink.on_event(event)
    np.maximum(highest, tagger.scores, out=highest)  # a last step that flush completed
    return FileTags(path, tagger.time_s, top(highest), sink.segments)


def progress_bar(paths: list[Path]) -> Progress:
    """A bar on stderr over all seconds of audio, where somebody sees it and has to wait."""
    total_s = sum(duration_s(path) for path in paths)
    columns = (TextColumn("tagging"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True, soft_wrap=True)
    wanted = console.is_terminal and total_s > LONG_S
    progress = Progress(*columns, console=console, transient=True, disable=not wanted)
    progress.add_task("tagging", total=total_s)
    return progress


def duration_s(path: Path) -> float:
    """Length as the file states it; 0 for a file that cannot be read, which shows later."""
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.SoundFileError, OSError):
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
    """One object per file: path, duration_s, top: [{label, score}], events: [{start_s, end_s,
    label, score}]."""

    def write(self, tags: FileTags) -> None:
        record = {
            "path": str(tags.path),
            "duration_s": round(tags.duration_s, 3),
            "top": [scored(label, score) for label, score in tags.top],
            "events": [rounded(segment) for segment in tags.segments],
        }
        click.echo(json.dumps(record, ensure_ascii=False))


class CsvWriter:
    """A header, then one row per event."""

    def __init__(self) -> None:
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._csv.writerow(["path", "start_s", "end_s", "label", "score"])

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


def rounded(segment: Segment) -> dict[str, object]:
    """A segment's fields in their order, numbers at the precision that means something."""
    digits = {"start_s": 3, "end_s": 3, "score": 4}
    return {k: round(v, digits[k]) if k in digits else v for k, v in asdict(segment).items()}
