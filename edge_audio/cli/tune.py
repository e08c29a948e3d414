"""`edge-audio tune`: thresholds from a user's own recordings or reviewed log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table

from edge_audio.backends import open_backend
from edge_audio.bundle.spec import SENSITIVITIES, EventSpec, Sensitivity
from edge_audio.bundle.store import Bundle
from edge_audio.cli.console import plain_console, remark, tell
from edge_audio.cli.options import FiniteRange, backend_option, model_option, sounds_option
from edge_audio.cli.progress import ProgressBar
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.errors import UsageError
from edge_audio.events.operating_points import ALARMS_PER_HOUR
from edge_audio.history.log import open_log
from edge_audio.sounds.opening import load_with_sounds
from edge_audio.support.files import write_atomically
from edge_audio.support.text import printable
from edge_audio.tagging.tagger import Tagger
from edge_audio.tuning.choice import Choice, choose
from edge_audio.tuning.evidence import Evidence
from edge_audio.tuning.log import review
from edge_audio.tuning.recordings import labels_in_play, read_recordings, try_recordings
from edge_audio.tuning.text import settings


@click.command()
@click.argument(
    "sources",
    metavar="RECORDINGS.csv|LOG.jsonl...|HISTORY",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
)
@model_option
@sounds_option
@backend_option
@click.option(
    "--sensitivity",
    type=click.Choice(SENSITIVITIES),
    default="normal",
    show_default=True,
    help="How many false alarms are allowed of each label in an hour without it: "
    + ", ".join(f"{ALARMS_PER_HOUR[x]:g} at {x}" for x in SENSITIVITIES)
    + ".",
)
@click.option("--alarms-per-hour", type=FiniteRange(min=0), help="Any other number of them.")
@click.option(
    "--all-false",
    is_flag=True,
    help="Of a log: every event that is not marked as correct is a false alarm.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the thresholds there, as a section of settings, instead of printing them.",
)
@quiet_libraries()
def tune(
    sources: tuple[Path, ...],
    model: str,
    sounds: str | None,
    backend: str,
    sensitivity: Sensitivity,
    alarms_per_hour: float | None,
    all_false: bool,
    out: Path | None,
) -> None:
    """Choose thresholds for your place: few false alarms, and what you recorded is found.

    RECORDINGS.csv has the columns path and labels (separated by ; and empty where nothing should be
    reported). Of the latter it takes hours: no label is made more sensitive by less than two, at
    one false alarm per hour. LOG.jsonl is what `edge-audio listen --json` wrote; put "correct":
    false or true into events that you know. HISTORY is what --history wrote, with what was said of
    events on the page. A log can only make labels less sensitive. The table goes to standard error,
    the settings to standard output or --out.

    \b
    edge-audio tune recordings.csv --out thresholds.toml
    edge-audio tune sounds.jsonl* --all-false     # nobody was at home
    edge-audio tune sounds.jsonl* --all-false --sounds house.sounds
    """
    bundle = load_with_sounds(model, sounds)
    is_list = [path.suffix == ".csv" for path in sources]
    if any(is_list) and len(sources) > 1:
        raise UsageError("tune takes one list of recordings, or the files of one log")
    if any(is_list):
        if all_false:
            raise UsageError("--all-false belongs to logs: leave the labels of recordings empty")
        evidence = from_recordings(bundle, backend, sources[0])
    else:
        evidence = from_log(bundle, sources, all_false)
    rate = ALARMS_PER_HOUR[sensitivity] if alarms_per_hour is None else alarms_per_hour
    choices = choose(evidence, rate)
    show(choices, rate)
    text = settings(choices, rate)
    if out is None:
        click.echo(text, nl=False)
    else:
        write(out, text)


def from_recordings(bundle: Bundle, backend: str, path: Path) -> Evidence:
    """Runs the model over all recordings of a list, with progress on standard error."""
    events = bundle.manifest.events
    recordings = read_recordings(path, bundle.manifest.labels)
    evidence = Evidence(labels_in_play(events, recordings), events)
    tagger = Tagger(bundle, open_backend(bundle, backend), EventSpec())
    with ProgressBar("listening", total=len(recordings)) as progress:
        try_recordings(evidence, tagger, recordings, progress.advance)
    return evidence


def from_log(bundle: Bundle, paths: tuple[Path, ...], all_false: bool) -> Evidence:
    """Reads a log and says how much of it could be read."""
    events = bundle.manifest.events
    evidence, log = Evidence(list(events.thresholds), events), open_log(paths)
    unknown = review(evidence, log, all_false)
    if not log.n_records:
        raise UsageError(f"{paths[0]} has no records of edge-audio listen --json")
    for problem in [*log.problems, *([f"{log.n_bad} damaged lines"] if log.n_bad else [])]:
        remark(problem)
    if gone := [label for label in unknown if label not in bundle.manifest.labels]:
        remark(
            f"events of {', '.join(gone[:5])} are left aside: the model has no such label; "
            "--sounds names the file of those that were taught"
        )
    return evidence


def show(choices: list[Choice], alarms_per_hour: float) -> None:
    """Prints a line for each label whose threshold changes, or for which there are recordings."""
    console = plain_console(stderr=True)
    table = Table("label", "on", "new", "false alarms", "after", "found", "after", "hours without")
    for choice in choices:
        if any(choice.alarms) or choice.n_right or choice.on != choice.on_before:
            table.add_row(*_row(choice))
    if table.row_count:
        console.print(table)
    for line in _warnings(choices, alarms_per_hour):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _warnings(choices: list[Choice], alarms_per_hour: float) -> Iterator[str]:
    """What there was too little audio for."""
    unjudged = [choice for choice in choices if not choice.is_judged]
    if not unjudged:
        return
    hours = min(choice.hours for choice in unjudged)
    needed = f"{2.0 / alarms_per_hour:.2g} h" if alarms_per_hour else "no amount"
    yield (
        f"{hours:.1f} h without some labels: a first false alarm is allowed from {needed} of "
        f"audio on, at {alarms_per_hour:g} per hour, so none was allowed"
    )
    if recorded := [printable(choice.label) for choice in unjudged if choice.n_right]:
        yield (
            f"too few to choose by, so not made more sensitive: {', '.join(recorded)}. Add "
            "recordings of your place, with empty labels"
        )


def _row(choice: Choice) -> list[str]:
    found = [f"{n} of {choice.n_right}" if choice.n_right else "-" for n in choice.found]
    return [
        printable(choice.label),
        "off" if choice.on_before is None else f"{choice.on_before:.2f}",
        "off" if choice.on is None else f"{choice.on:.2f}",
        *map(str, choice.alarms),
        *found,
        f"{choice.hours:.1f}",
    ]


def write(path: Path, text: str) -> None:
    """Writes the settings to a file, and says on standard output what the file is for."""
    write_atomically(path, text.encode())
    tell(f"written: {path}; its [events] go into the file of edge-audio listen --config")
