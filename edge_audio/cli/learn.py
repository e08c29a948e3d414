"""`edge-audio learn`: a label of your own from a few recordings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from edge_audio.archive.search import duration_s, expand
from edge_audio.bundle.store import DEFAULT_MODEL, load_bundle
from edge_audio.cli.console import remark, tell
from edge_audio.cli.options import FiniteRange, backend_option, model_option
from edge_audio.cli.progress import ProgressBar
from edge_audio.cli.quiet import quiet_libraries
from edge_audio.cli.sounds import file_option
from edge_audio.errors import UsageError
from edge_audio.learning.learn import (
    MAX_NEGATIVE_H,
    Given,
    Learned,
    checked_name,
    checked_parent,
    hours_of,
    open_for_change,
    teach_into,
)
from edge_audio.learning.network import Network
from edge_audio.learning.recordings import read_recording
from edge_audio.support.arrays import FloatArray

MAX_SECONDS = 60.0


@click.command()
@click.argument("name")
@click.argument("files", metavar="[FILES...]", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--not",
    "others",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A recording of what it is not, such as the neighbour's doorbell; repeatable.",
)
@click.option(
    "--negatives",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER|FILE",
    help="Hours of your place without the sound: thresholds rise until they keep to the rate of "
    "false alarms there too, of the first 24 h at most. Repeatable.",
)
@click.option("--parent", default="", metavar="LABEL", help="A label that it is a kind of.")
@click.option("--microphone", is_flag=True, help="Record takes, one after the other.")
@click.option("--device", metavar="INDEX|NAME", help="Which microphone, as `devices` lists them.")
@click.option(
    "--seconds",
    "take_s",
    type=FiniteRange(0.5, MAX_SECONDS),
    default=5.0,
    show_default=True,
    help="How long a take of the microphone is recorded.",
)
@click.option(
    "--from",
    "clips_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Go through clips that `listen --clips` kept: this was it, this was not.",
)
@file_option
@model_option
@backend_option
@quiet_libraries()
def learn(
    name: str,
    files: tuple[Path, ...],
    others: tuple[Path, ...],
    negatives: tuple[Path, ...],
    parent: str,
    microphone: bool,
    device: str | None,
    take_s: float,
    clips_folder: Path | None,
    path: Path,
    model: str,
    backend: str,
) -> None:
    """Teach a sound of your own from a few recordings, on this machine.

    NAME becomes a label like any other for `listen --sounds FILE` and `tag --sounds FILE`. Repeats
    within a recording count as takes. Given again, NAME learns from more takes; sounds that were
    learned before stay exactly as they are. What is known of the new sound is said, with what to
    record next.

    \b
    edge-audio learn "Washing machine" end1.wav end2.wav end3.wav
    edge-audio learn Bella bella*.wav --not neighbours-dog.wav --parent Dog
    edge-audio learn Doorbell2 --microphone
    edge-audio learn Doorbell2 --from clips/
    edge-audio learn Bella --negatives evening/        # her threshold, tightened
    edge-audio learn Bella --not fox.wav --parent Dog  # what was taken for her, and what she is
    """
    if (bool(files) + microphone + (clips_folder is not None)) > 1:
        raise UsageError("learn takes files, or --microphone, or --from: one of them")
    network = Network(load_bundle(model), backend)
    before = open_for_change(path, network)
    check(name, parent, network)
    is_told_more = before.has(name.strip()) and (negatives or others or parent)
    if not (files or microphone or clips_folder or is_told_more):
        raise UsageError(f"no recordings of {name!r}: name files, or --microphone, or --from clips")
    rate_hz = network.sample_rate_hz
    refuse_logs(negatives, path)
    not_it = [read_recording(one, rate_hz) for one in expand(others, remark)]
    if microphone:
        from edge_audio.cli.learn_live import record_takes

        taken = record_takes(device, take_s, rate_hz)
    elif clips_folder is not None:
        from edge_audio.cli.learn_live import go_through

        taken, more = go_through(clips_folder, rate_hz)
        not_it += more
    else:
        taken = [read_recording(one, rate_hz) for one in expand(files, remark)]
    stream = listen_to(network, list(expand(negatives, remark)))
    learned = teach_into(path, network, Given(name, taken, not_it, stream, parent))
    say(learned, path, model, backend)


def check(name: str, parent: str, network: Network) -> None:
    """Raises UsageError or BundleError before anybody records for nothing."""
    checked_name(name, network)
    checked_parent(parent, network)
    _ = network.bank


def refuse_logs(negatives: Sequence[Path], path: Path) -> None:
    """Raises UsageError for what has no sound that could be listened to, and says what takes it."""
    for log in negatives:
        if ".jsonl" in log.suffixes or log.suffix == ".db":
            words = ["edge-audio", "tune", str(log), "--all-false", "--sounds", str(path)]
            raise UsageError(f"{log} is a log, without sound: {shlex.join(words)} learns from it")


def listen_to(network: Network, paths: list[Path]) -> FloatArray:
    """Embeddings of hours without the sound, with a bar."""
    total_s, most_s = sum(map(duration_s, paths)), 3600.0 * MAX_NEGATIVE_H
    if total_s > most_s:
        remark(
            f"of {total_s / 3600.0:.1f} h without it the first {MAX_NEGATIVE_H:g} are listened to"
        )
    with ProgressBar("listening", min(total_s, most_s), is_wanted=bool(paths)) as progress:
        return hours_of(network, paths, progress.advance)


def say(learned: Learned, path: Path, model: str, backend: str) -> None:
    """What was learned, and what is known of it."""
    sound = learned.sound
    for line in learned.advice:
        remark(line)
    n_takes = len(sound.takes)
    tell(f"{path}: {sound.name}, {n_takes} take{'s' if n_takes > 1 else ''}")
    own = sound.evidence.negative_h
    rests = f" and {own:.2f} h of your own audio" if own else "; --negatives counts them at home"
    rate = sound.evidence.alarms_per_hour
    tell(f"about {rate:g} false alarm an hour, by stored sounds of others{rests}")
    words = ["edge-audio", "listen", "--sounds", str(path)]
    words += ["--model", model] if model != DEFAULT_MODEL else []
    words += ["--backend", backend] if backend != "auto" else []
    tell(f"listen for it: {shlex.join(words)}")
