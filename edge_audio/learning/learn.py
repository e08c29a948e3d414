"""Teaches a label, from recordings to the file that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from edge_audio.backends.fingerprint import is_same_network
from edge_audio.bundle.store import load_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.labels.find import find_label, refuse_label
from edge_audio.learning import advice
from edge_audio.learning.network import Network
from edge_audio.learning.recordings import Recording, backgrounds, hear, read_recording
from edge_audio.learning.teach import (
    Lesson,
    earlier_takes,
    kept_background,
    make_sound,
    without_repeats,
)
from edge_audio.sounds.embeddings import from_bytes
from edge_audio.sounds.file import (
    Sound,
    Sounds,
    Take,
    changing,
    empty,
    read_sounds,
    write_sounds,
)
from edge_audio.sources.audio_file import AudioFile
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import check_name

MAX_NEGATIVE_H = 24.0

Files: TypeAlias = str | Path | Iterable[str | Path]


class Given(NamedTuple):
    """What somebody gives to teach a label by: recordings of it, and `others` of what it is not.
    stream: f32[n_steps, D], embeddings of hours without it, None for none. parent: the label that
    it is a kind of, "" for none."""

    name: str
    recordings: Sequence[Recording]
    others: Sequence[Recording] = ()
    stream: FloatArray | None = None
    parent: str = ""


class Learned(NamedTuple):
    """sounds: all of the file, the new one in it. sound: what was learned. advice: lines for
    people. path: of the file, None where it was not written."""

    sounds: Sounds
    sound: Sound
    advice: tuple[str, ...]
    path: Path | None = None


def learn(
    name: str,
    recordings: Files,
    *,
    sounds: str | Path,
    others: Files = (),
    negatives: Files = (),
    parent: str = "",
    model: str | Path = "tiny-int8",
    backend: str = "auto",
) -> Learned:
    """Learns a label from recordings of it, and writes it into a file that `Tagger.open` takes.

    sounds: the file; what is in it stays, and takes of this name are added to. others: recordings
    of what it is not. negatives: recordings of many hours without it. parent: a label of the model
    that it is a kind of. A single recording may stand for itself.

    Raises UsageError, SourceError, BundleError or EdgeAudioError; the file stays as it was then.
    """
    path, network = Path(sounds), Network(load_bundle(model), backend)
    rate_hz = network.sample_rate_hz
    open_for_change(path, network)
    given = Given(
        name,
        [read_recording(one, rate_hz) for one in _paths(recordings)],
        others=[read_recording(one, rate_hz) for one in _paths(others)],
        stream=hours_of(network, _paths(negatives)),
        parent=parent,
    )
    return teach_into(path, network, given)


def _paths(files: Files) -> list[Path]:
    return [Path(files)] if isinstance(files, (str, Path)) else [Path(one) for one in files]


def open_for_change(path: Path, network: Network) -> Sounds:
    """`open_sounds`, before anybody records for nothing. Raises EdgeAudioError where the file could
    not be written as well."""
    with changing(path):
        return open_sounds(path, network)


def teach_into(path: Path, network: Network, given: Given) -> Learned:
    """`teach`, into a file: what others put there while this one recorded stays, and is told
    apart."""
    with changing(path):
        before = open_sounds(path, network)
        learned = teach(network, before, given)
        write_sounds(path, learned.sounds)
    return learned._replace(path=path)


def open_sounds(path: Path, network: Network) -> Sounds:
    """What is in the file; nothing yet where there is none. Raises EdgeAudioError if it is damaged
    or of another network."""
    if not path.exists():
        return empty(network.fingerprint)
    sounds = read_sounds(path)
    if not is_same_network(sounds.network, network.fingerprint):
        raise EdgeAudioError(
            f"{path} was learned with another model: name that one with --model, or another file"
        )
    return sounds


def teach(network: Network, before: Sounds, given: Given) -> Learned:
    """What `learn` does with recordings that have been read. Raises UsageError for a name that
    cannot be had, or where nothing is heard in any recording."""
    name, parent = checked_name(given.name, network), checked_parent(given.parent, network)
    dim = len(network.fingerprint)
    heard = [hear(network, one) for one in given.recordings]
    known = before.find(name) if before.has(name) else None
    takes, again = without_repeats(
        (*(known.takes if known else ()), *(take for one in heard for take in one.takes))
    )
    if not takes:
        lines = "; ".join(advice.of_recordings(heard)) or "there is no recording"
        raise UsageError(f"nothing to learn {name!r} from: {lines}")
    named, _ = without_repeats(
        (*(known.others if known else ()), *_takes_of(network, given.others))
    )
    stream = np.zeros((0, dim), np.float32) if given.stream is None else given.stream
    background = np.concatenate(
        [
            from_bytes(known.background if known else b"", dim),
            kept_background(np.concatenate([backgrounds(heard, dim), stream])),
        ]
    )
    all_others = [*named, *earlier_takes(before, name)]
    lesson = Lesson.of(network, all_others, kept_background(background), stream)
    if known:
        pairs = from_bytes(known.nearest, dim).reshape(-1, 2, dim)
        lesson = lesson.after(known.evidence.negative_h, pairs)
    parent = parent or (known.parent if known else "")
    made = make_sound(known.name if known else name, parent, takes, named, lesson)
    sound = made.sound
    told = (
        *advice.of_recordings(heard),
        *advice.of_repeats(again),
        *advice.of_hours(sound, made.alike_s),
        *advice.of_sound(sound, made.is_found, made.alike_s is None),
        *advice.of_likeness(sound, heard, before, network),
    )
    return Learned(before.with_sound(sound), sound, told)


def checked_name(name: str, network: Network) -> str:
    """Raises UsageError for what cannot be a label, or is one of the model's."""
    name = name.strip()
    try:
        check_name(name, "name")
    except ValueError as error:
        raise UsageError(str(error)) from error
    refuse_label(name, network.labels, f", and say --parent '{name}'")
    return name


def checked_parent(parent: str, network: Network) -> str:
    """The label of the model that is meant. Raises UsageError."""
    return find_label(parent, network.labels) if parent else ""


def _takes_of(network: Network, recordings: Sequence[Recording]) -> Iterator[Take]:
    for recording in recordings:
        yield from hear(network, recording).takes


def hours_of(
    network: Network, paths: Sequence[Path], done: Callable[[float], object] = lambda _: None
) -> FloatArray:
    """Embeddings f32[n_steps, D] of whole recordings, at most MAX_NEGATIVE_H of them. done: is told
    how many more seconds were heard. Raises UsageError or SourceError."""
    rate_hz, parts = network.sample_rate_hz, [np.zeros((0, len(network.fingerprint)), np.float32)]
    left_s = MAX_NEGATIVE_H * 3600.0
    for path in paths:
        network.begin()
        for samples in _whole_steps(path, network):
            parts.append(network.push(samples)[1])
            left_s -= len(samples) / rate_hz
            done(len(samples) / rate_hz)
            if left_s <= 0.0:
                return np.concatenate(parts)
    return np.concatenate(parts)


def _whole_steps(path: Path, network: Network) -> Iterator[FloatArray]:
    """A file in pieces of whole steps, the first with the overlap before them; the rest of the last
    step is left out."""
    step, waiting = network.spec.step_samples, np.zeros(0, np.float32)
    extra = network.spec.overlap_samples
    with AudioFile(path, network.sample_rate_hz, 10_000.0) as source:
        for block in source.blocks():
            waiting = np.concatenate([waiting, block.samples])
            n_ready = (len(waiting) - extra) // step * step + extra
            if n_ready > extra or (n_ready > 0 and not extra):
                yield waiting[:n_ready]
                waiting, extra = waiting[n_ready:], 0
