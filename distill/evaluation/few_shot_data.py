"""What few-shot learning is scored on: takes from one fold of ESC-50, streams of the other four."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.data.audio import read_clip
from distill.data.clip_list import Clip
from distill.mixing.soundscapes import (
    Scene,
    Sound,
    SoundscapeConfig,
    TrueEvent,
    cut_bouts,
    negatives,
    soundscapes,
)
from distill.progress import tracked
from edge_audio.errors import UsageError
from edge_audio.learning.network import Embedder
from edge_audio.learning.recordings import Recording, hear
from edge_audio.sounds.file import Take
from edge_audio.support.arrays import FloatArray

TAKES_FOLD = 1
HELD_OUT_FOLD = 5  # of all other clips
_N_OTHERS = 400
_RATE_HZ = 16_000


class Stream(NamedTuple):
    """rows: f32[n_steps, D]. events: by ESC-50's class, "" for clips of others."""

    rows: FloatArray
    events: tuple[TrueEvent, ...]


class FewShotData(NamedTuple):
    """takes: of each class, one a recording. scenes: crowded, where events are to be found.
    negatives: hours, where they are false alarms; negative_h: how many, None where that is as long
    as they last."""

    takes: dict[str, list[Take]]
    scenes: list[Stream]
    negatives: list[Stream]
    negative_h: float | None = None


def make_data(
    network: Embedder, folder: Path, clips: Sequence[Clip], config: SoundscapeConfig, n_takes: int
) -> FewShotData:
    """Raises UsageError for a clip list without ESC-50."""
    esc = [clip for clip in clips if clip.is_esc]
    if not esc:
        raise UsageError("few-shot learning is scored on ESC-50: the clip list has none of it")
    ours = [clip for clip in esc if clip.fold == TAKES_FOLD]
    groups = {clip.group for clip in ours}
    rest = [clip for clip in esc if clip.fold != TAKES_FOLD and clip.group not in groups]
    others = [clip for clip in clips if not clip.is_esc and clip.fold == HELD_OUT_FOLD]
    sounds = _sounds(folder, rest, "reading ESC-50")
    takes = takes_by_class(network, folder, ours, n_takes)
    scenes = soundscapes(config, cut_bouts(sounds), (0,))
    order = np.random.default_rng(0).permutation(len(others))[:_N_OTHERS]
    more = _sounds(folder, [others[index] for index in order], "reading others")
    hours = negatives(config, sounds + [sound._replace(labels=("",)) for sound in more], (0,))
    return FewShotData(
        takes,
        list(heard(network, tracked(scenes, "scenes", config.n_scenes))),
        list(heard(network, tracked(hours, "negatives", config.n_negatives))),
    )


def takes_by_class(
    network: Embedder, folder: Path, clips: Sequence[Clip], n_takes: int
) -> dict[str, list[Take]]:
    """The first take of each of n_takes recordings, no two of one group."""
    found: dict[str, list[Take]] = {}
    seen: set[str] = set()
    for clip in tracked(clips, "takes"):
        of_class = found.setdefault(clip.esc50_class, [])
        if clip.group in seen or len(of_class) >= n_takes:
            continue
        if takes := first_take(network, folder, clip):
            seen.add(clip.group)
            of_class += takes
    return found


def first_take(network: Embedder, folder: Path, clip: Clip) -> tuple[Take, ...]:
    """Of a clip, if it has any."""
    samples = read_clip(folder / clip.path, network.sample_rate_hz)
    return hear(network, Recording(Path(clip.path).name, samples)).takes[:1]


def _sounds(folder: Path, clips: Sequence[Clip], what: str) -> list[Sound]:
    return [
        Sound(read_clip(folder / clip.path, _RATE_HZ), (clip.esc50_class,), clip.group)
        for clip in tracked(clips, what)
    ]


def heard(network: Embedder, scenes: Iterable[Scene]) -> Iterable[Stream]:
    """Each scene as a stream of its own."""
    for scene in scenes:
        yield Stream(network.hear(scene.samples)[1], scene.events)
