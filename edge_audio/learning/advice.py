"""What a user should know of a sound that was just learned, and what to record next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_audio.events.suggestion import SUGGESTED_ON
from edge_audio.labels.ontology import ancestor_labels
from edge_audio.learning.network import Network
from edge_audio.learning.recordings import MAX_RECORDING_S, Heard
from edge_audio.learning.takes import MAX_TAKE_S
from edge_audio.sounds.embeddings import from_bytes
from edge_audio.sounds.file import Sound, Sounds, Take
from edge_audio.support.text import clock

ENOUGH_TAKES = 3
_FEW_FOUND = 0.6
_CLIPPED_SHARE = 0.001
_MOST = 0.5  # of the takes
_SPEECH = "Speech"


def of_recordings(heard: Sequence[Heard]) -> Iterator[str]:
    """On each recording, a line for each thing that is wrong with it."""
    for one in heard:
        found = one.found
        if found.is_silent:
            yield f"{one.name} is silent: nothing was learned from it; record it nearer"
        if found.is_steady:
            yield (
                f"{one.name}: the level hardly varies, so all of it counts as one take; leave a "
                "second of quiet before and after the sound"
            )
        if found.was_cut:
            yield f"{one.name}: a take lasts longer than {MAX_TAKE_S:g} s and was cut there"
        if found.clipped_share > _CLIPPED_SHARE:
            share = 100.0 * found.clipped_share
            yield f"{one.name}: {share:.1f} % of it is at full scale: record further away"
        if len(found.whole) > len(found.spans):
            yield f"{one.name}: of {len(found.whole)} takes the first {len(found.spans)} were heard"
        if one.duration_s >= MAX_RECORDING_S:
            yield f"{one.name}: only the first {MAX_RECORDING_S / 60:g} minutes were heard"


def of_repeats(again: Sequence[Take]) -> Iterator[str]:
    """On takes that were given more than once."""
    if again:
        named = ", ".join(f"{take.source} at {take.start_s:.1f} s" for take in again[:3])
        yield f"{len(again)} of the takes were given before and count once ({named}): record others"


def of_hours(sound: Sound, alike_s: float | None) -> Iterator[str]:
    """On the user's own hours. alike_s: where in them something is like the takes."""
    if alike_s is not None:
        yield (
            f"at {clock(alike_s)} of --negatives something is as like {sound.name} as its takes "
            "are: if it is the sound itself, leave that recording out, and name the others again"
        )


def of_sound(sound: Sound, is_found: Sequence[bool], is_apart: bool = True) -> Iterator[str]:
    """On the takes as a whole. is_found: which of them are found where they did not teach.
    is_apart: from the user's own hours, so that takes which are not found differ."""
    n_takes = len(sound.takes)
    if n_takes < ENOUGH_TAKES:
        yield (
            f"{n_takes} take{'s' if n_takes > 1 else ''}: from {ENOUGH_TAKES} on it is known how "
            f"well they are found; record {ENOUGH_TAKES - n_takes} more, in other places"
        )
    if not is_found:
        return
    n_found = sum(is_found)
    yield f"{n_found} of {len(is_found)} takes are found by what the others taught"
    if n_found < _FEW_FOUND * len(is_found) and is_apart:
        missed = [take for take, found in zip(sound.takes, is_found, strict=False) if not found]
        named = ", ".join(f"{take.source} at {take.start_s:.1f} s" for take in missed[:3])
        yield (
            f"the takes differ much ({named} are unlike the others): record more of each kind, or "
            "learn each kind under a name of its own"
        )


def of_likeness(
    sound: Sound, heard: Sequence[Heard], earlier: Sounds, network: Network
) -> Iterator[str]:
    """On what else the takes sound like: labels of the model, speech over them, other sounds."""
    if scores := [row for one in heard for row in one.scores]:
        yield from _of_labels(np.stack(scores), sound, network)
    others = [one for one in earlier.sounds if one.name.casefold() != sound.name.casefold()]
    if not others:
        return
    rows = earlier.rows()
    takes = [from_bytes(take.steps, earlier.embedding_dim) for take in sound.takes]
    highest = np.stack([np.max([rows.scores(step) for step in take], axis=0) for take in takes])
    for other in others:
        of_other = highest[:, rows.labels.index(other.name)]
        n_alike = sum(score >= other.thresholds["normal"].on for score in of_other)
        if n_alike > _MOST * len(takes):
            yield (
                f"{n_alike} of {len(takes)} takes sound like {other.name}, learned before: if it "
                "is the same sound, remove one of them with `edge-audio sounds remove`; else give "
                f"takes of it with --not, and of this one where {other.name} is learned"
            )


def _of_labels(scores: np.ndarray, sound: Sound, network: Network) -> Iterator[str]:
    """scores: f32[n_takes, n_labels]."""
    is_on = scores >= SUGGESTED_ON
    n_takes, counts = len(scores), is_on.sum(0)
    speech = network.labels.index(_SPEECH) if _SPEECH in network.labels else -1
    if speech >= 0 and counts[speech] and sound.parent != _SPEECH:
        yield f"speech is heard in {counts[speech]} of {n_takes} takes: record them without"
    if speech >= 0:
        counts[speech] = 0
    for known in ancestor_labels(sound.parent) | {sound.parent}:
        if known in network.labels:
            counts[network.labels.index(known)] = 0
    best = int(np.argmax(counts * 10.0 + scores.mean(0)))
    label = network.labels[best]
    if counts[best] > _MOST * n_takes:
        yield (
            f"the model calls {counts[best]} of {n_takes} takes {label} "
            f"({scores[:, best].mean():.2f}): with --parent '{label}' one sound is one event"
        )
