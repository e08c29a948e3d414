"""Soundscapes composed of single clips, with the exact onset and offset of every event.

Their sounds are contiguous bouts, so that an onset is known to 10 ms wherever it is placed (the
idea of Salamon et al. 2017, Scaper: A Library for Soundscape Synthesis and Augmentation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from distill.data.audio import read_clip
from distill.data.clip_list import Clip
from distill.mixing.bouts import longest_bout
from distill.mixing.mixtures import coloured_noise, level_gain
from distill.progress import tracked
from edge_audio.bundle.spec import Spec
from edge_audio.errors import UsageError
from edge_audio.support.arrays import FloatArray

Rng = np.random.Generator
Range = tuple[float, float]
Seed = tuple[int, ...]
_Item = TypeVar("_Item")

SAMPLE_RATE_HZ = 16_000
_FADE_SAMPLES = 80
_N_TRIES = 50  # random onsets before a sound is left out of a crowded scene


class SoundscapeConfig(Spec, frozen=True):
    """n_scenes scenes of scene_s, crowded with up to n_events events each; and n_negatives scenes
    of negative_s with up to n_negative_sounds sounds each, which tell how often a label is
    reported where it is not.

    background_dbfs: range of the coloured noise. snr_db: range of an event's level above it.
    max_event_s: longer sounds are cut. min_gap_s: between two events of one label.
    stretch_s: how long a negative scene's background stays as it is; silence: odds that such a
        stretch is digital silence.
    """

    n_scenes: int = 25
    scene_s: float = 60.0
    n_events: int = 12
    n_negatives: int = 20
    negative_s: float = 900.0
    n_negative_sounds: int = 15
    background_dbfs: Range = (-60.0, -40.0)
    snr_db: Range = (6.0, 30.0)
    max_event_s: float = 10.0
    min_gap_s: float = 1.0
    stretch_s: float = 20.0
    silence: float = 0.2


class Sound(NamedTuple):
    """samples f32[n] at SAMPLE_RATE_HZ; labels: what they are listed as. recording: sounds of one
    recording are drawn as if they were one; "" = this is all of it."""

    samples: FloatArray
    labels: tuple[str, ...]
    recording: str = ""


class TrueEvent(NamedTuple):
    """One label of one sound, in seconds from the start of the scene."""

    label: str
    onset_s: float
    offset_s: float


class Scene(NamedTuple):
    """samples f32[n] at SAMPLE_RATE_HZ within [-1, 1], and its events by onset. At most two
    sounds overlap at any time."""

    samples: FloatArray
    events: tuple[TrueEvent, ...]

    @property
    def duration_s(self) -> float:
        """Length of the scene."""
        return len(self.samples) / SAMPLE_RATE_HZ


def read_sounds(folder: Path, clips: Sequence[Clip]) -> list[Sound]:
    """Every clip that has labels."""
    listed = [clip for clip in clips if clip.labels]
    return [read_sound(folder, clip) for clip in tracked(listed, "reading sounds")]


def read_sound(folder: Path, clip: Clip) -> Sound:
    """One clip as a whole."""
    return Sound(read_clip(folder / clip.path, SAMPLE_RATE_HZ), clip.labels, clip.group)


def cut_bouts(sounds: Sequence[Sound]) -> list[Sound]:
    """The longest bout of each that has one: it sounds throughout."""
    found = ((sound, longest_bout(sound.samples, SAMPLE_RATE_HZ)) for sound in sounds)
    return [
        sound._replace(samples=sound.samples[bout]) for sound, bout in found if bout is not None
    ]


def soundscapes(config: SoundscapeConfig, sounds: Sequence[Sound], seed: Seed) -> Iterator[Scene]:
    """n_scenes scenes over steady noise. Labels are equally likely, then the recordings of a
    label, then the sounds of a recording.

    Raises UsageError if no sound has a label.
    """
    by_label: dict[str, list[Sound]] = {}
    for sound in sounds:
        for label in sound.labels:
            by_label.setdefault(label, []).append(sound)
    if not by_label:
        raise UsageError("no held-out clip has a label to find: soundscapes cannot be composed")
    pools = [by_recording(mine) for mine in by_label.values()]
    for index in range(config.n_scenes):
        rng = np.random.default_rng((*seed, 0, index))
        level_dbfs = rng.uniform(*config.background_dbfs)
        background = coloured_noise(rng, _n_samples(config.scene_s), level_dbfs)
        drawn = [_draw(rng, _draw(rng, _draw(rng, pools))) for _ in range(config.n_events)]
        yield _compose(rng, config, background, level_dbfs, drawn)


def negatives(config: SoundscapeConfig, sounds: Sequence[Sound], seed: Seed) -> Iterator[Scene]:
    """n_negatives long scenes over noise that changes and at times falls silent. All recordings are
    equally likely, then the sounds of one; the events say what sounds when."""
    pools = by_recording(sounds)
    for index in range(config.n_negatives):
        rng = np.random.default_rng((*seed, 1, index))
        level_dbfs = rng.uniform(*config.background_dbfs)
        n_sounds = config.n_negative_sounds if sounds else 0
        drawn = [_draw(rng, _draw(rng, pools)) for _ in range(n_sounds)]
        yield _compose(rng, config, _changing_noise(rng, config), level_dbfs, drawn)


def by_recording(sounds: Sequence[Sound]) -> list[list[Sound]]:
    """The sounds of each recording."""
    found: dict[object, list[Sound]] = {}
    for index, sound in enumerate(sounds):
        found.setdefault(sound.recording or index, []).append(sound)
    return list(found.values())


def _draw(rng: Rng, items: Sequence[_Item]) -> _Item:
    return items[int(rng.integers(len(items)))]


def _changing_noise(rng: Rng, config: SoundscapeConfig) -> FloatArray:
    n_samples, n_stretch = _n_samples(config.negative_s), _n_samples(config.stretch_s)
    noise = np.zeros(n_samples, np.float32)
    for start in range(0, n_samples, n_stretch):
        n = min(n_stretch, n_samples - start)
        if rng.random() >= config.silence:
            noise[start : start + n] = coloured_noise(rng, n, rng.uniform(*config.background_dbfs))
    return noise


class _Placed(NamedTuple):
    start: int  # samples
    end: int
    labels: tuple[str, ...]


def _compose(
    rng: Rng,
    config: SoundscapeConfig,
    samples: FloatArray,
    background_dbfs: float,
    sounds: Sequence[Sound],
) -> Scene:
    """Adds each sound to the background at a random time, if one is free for it."""
    placed: list[_Placed] = []
    for sound in sounds:
        bout = sound.samples[: min(_n_samples(config.max_event_s), len(samples))]
        place = _find_room(rng, len(samples), bout, sound.labels, placed, config.min_gap_s)
        if place is None:
            continue
        level_dbfs = background_dbfs + rng.uniform(*config.snr_db)
        samples[place.start : place.end] += _faded(bout) * level_gain(bout, level_dbfs)
        placed.append(place)
    events = [
        TrueEvent(label, place.start / SAMPLE_RATE_HZ, place.end / SAMPLE_RATE_HZ)
        for place in placed
        for label in place.labels
    ]
    peak = max(1.0, float(np.abs(samples).max(initial=0.0)))
    by_onset = sorted(events, key=lambda event: (event.onset_s, event.label))
    return Scene(samples / np.float32(peak), tuple(by_onset))


def _find_room(
    rng: Rng,
    n_samples: int,
    bout: FloatArray,
    labels: tuple[str, ...],
    placed: Sequence[_Placed],
    min_gap_s: float,
) -> _Placed | None:
    """A random place where the bout overlaps at most one other sound and keeps its distance
    from those that share a label."""
    gap = _n_samples(min_gap_s)
    related = [other for other in placed if not set(labels).isdisjoint(other.labels)]
    for _ in range(_N_TRIES):
        start = int(rng.integers(0, n_samples - len(bout) + 1))
        end = start + len(bout)
        n_overlapping = sum(start < other.end and other.start < end for other in placed)
        is_near_related = any(
            start < other.end + gap and other.start < end + gap for other in related
        )
        if n_overlapping <= 1 and not is_near_related:
            return _Placed(start, end, labels)
    return None


def _faded(bout: FloatArray) -> FloatArray:
    """Without clicks at its ends: 5 ms linear fades."""
    ramp = np.minimum(1.0, (np.arange(len(bout), dtype=np.float32) + 1.0) / _FADE_SAMPLES)
    return bout * ramp * ramp[::-1]


def _n_samples(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE_HZ)
