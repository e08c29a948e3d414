"""Soundscapes and long negatives, composed of held-out clips and heard by several scorers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from distill.data.clip_list import Clip
from distill.data.companions import Companions
from distill.mixing.soundscapes import (
    Scene,
    Sound,
    SoundscapeConfig,
    TrueEvent,
    cut_bouts,
    negatives,
    read_sounds,
    soundscapes,
)
from distill.progress import tracked
from distill.scoring.streams import ScoreTrack, Segment, StreamScorer

LATENESS_S = 1.0
"""An event may be reported this long after its end and still counts as found."""

Stretch = tuple[float, float]
"""Start and end of a stretch of time, in seconds."""


def is_in_time(event: TrueEvent, seen_s: float) -> bool:
    """Whether a start that is reported at time_s finds the event."""
    return event.onset_s <= seen_s <= event.offset_s + LATENESS_S


class SceneScores(NamedTuple):
    """Scores of one model on the scenes of a fold, of the labels that are compared.

    events: true events of the soundscapes. sounds: all labels of what sounds in the negatives.
    """

    events: Sequence[Sequence[TrueEvent]]
    scenes: Sequence[ScoreTrack]
    sounds: Sequence[Sequence[TrueEvent]]
    negatives: Sequence[ScoreTrack]

    @property
    def durations_s(self) -> list[float]:
        """How long each of the negatives is."""
        return [float(track.times_s[-1]) for track in self.negatives]


class Fold(NamedTuple):
    """clips: whole, with all that is in them. bouts: what sounds throughout."""

    clips: list[Sound]
    bouts: list[Sound]


def fold_sounds(folder: Path, clips: Sequence[Clip], n_folds: int) -> list[Fold]:
    """The clips divided into folds that share no recording, with every label spread evenly over
    them."""
    fold_of = fold_of_groups(clips, n_folds)
    folds = []
    for fold in range(n_folds):
        sounds = read_sounds(folder, [clip for clip in clips if fold_of[clip.group] == fold])
        folds.append(Fold(sounds, cut_bouts(sounds)))
    return folds


def fold_of_groups(clips: Sequence[Clip], n_folds: int) -> dict[str, int]:
    """The fold of each recording, so that every label is spread evenly over them."""
    labels: dict[str, tuple[str, ...]] = {}
    for clip in clips:
        labels.setdefault(clip.group, tuple(sorted(clip.labels)))
    ordered = sorted(labels, key=lambda group: (labels[group], group))
    return {group: position % n_folds for position, group in enumerate(ordered)}


def score_scenes(
    scorers: Sequence[StreamScorer],
    labels: Sequence[str],
    folds: Sequence[Fold],
    config: SoundscapeConfig,
    seed: int,
) -> list[list[SceneScores]]:
    """Lets all scorers hear the same scenes, made of one fold at a time: soundscapes of bouts
    with one of `labels`, negatives of whole clips. -> the scores of each scorer in each
    fold.

    Raises UsageError if no bout of a fold has one of the labels.
    """
    by_fold = [
        _score_fold(scorers, labels, sounds, config, (seed, fold))
        for fold, sounds in enumerate(folds)
    ]
    return [list(mine) for mine in zip(*by_fold, strict=True)]


def _score_fold(
    scorers: Sequence[StreamScorer],
    labels: Sequence[str],
    sounds: Fold,
    config: SoundscapeConfig,
    seed: tuple[int, int],
) -> list[SceneScores]:
    listed = [
        sound._replace(labels=tuple(x for x in sound.labels if x in labels))
        for sound in sounds.bouts
    ]
    scenes = soundscapes(config, [sound for sound in listed if sound.labels], seed)
    name = f"fold {seed[1] + 1}"
    events, heard = _listen(
        scorers, labels, tracked(scenes, f"{name}: soundscapes", config.n_scenes)
    )
    others, quiet = _listen(
        scorers,
        labels,
        tracked(negatives(config, sounds.clips, seed), f"{name}: negatives", config.n_negatives),
    )
    return [
        SceneScores(events, mine, others, mine_quiet)
        for mine, mine_quiet in zip(heard, quiet, strict=True)
    ]


def _listen(
    scorers: Sequence[StreamScorer], labels: Sequence[str], scenes: Iterable[Scene]
) -> tuple[list[tuple[TrueEvent, ...]], list[list[ScoreTrack]]]:
    """The events of every scene, and of every scorer its track of each scene."""
    columns = [[scorer.labels.index(label) for label in labels] for scorer in scorers]
    truth: list[tuple[TrueEvent, ...]] = []
    heard: list[list[ScoreTrack]] = [[] for _ in scorers]
    for scene in scenes:
        truth.append(scene.events)
        for scorer, chosen, tracks in zip(scorers, columns, heard, strict=True):
            times_s, scores = scorer.track(scene.samples)
            tracks.append(ScoreTrack(times_s, scores[:, chosen]))
    return truth, heard


class Negatives:
    """Where in scenes a report of a label is a false alarm.

    hours: of each label, in which it cannot be expected.
    """

    def __init__(
        self,
        sounds: Sequence[Sequence[TrueEvent]],
        durations_s: Sequence[float],
        companions: Companions,
    ) -> None:
        """sounds: all labels of what sounds in each scene."""
        self._expected = [
            {label: expected_stretches(scene, others) for label, others in companions.items()}
            for scene in sounds
        ]
        self.hours = {
            label: sum(
                _uncovered_s(stretches[label], duration_s)
                for stretches, duration_s in zip(self._expected, durations_s, strict=True)
            )
            / 3600.0
            for label in companions
        }

    def is_false(self, scene: int, one: Segment) -> bool:
        """Whether the start that was reported in this scene is a false alarm."""
        return not any(
            start <= one.seen_s <= end for start, end in self._expected[scene][one.label]
        )


def expected_stretches(sounds: Sequence[TrueEvent], companions: frozenset[str]) -> list[Stretch]:
    """The stretches of time in which a label may be reported, in order and without overlap."""
    stretches = sorted(
        (x.onset_s, x.offset_s + LATENESS_S) for x in sounds if x.label in companions
    )
    merged: list[Stretch] = []
    for start_s, end_s in stretches:
        if merged and start_s <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end_s, merged[-1][1])
        else:
            merged.append((start_s, end_s))
    return merged


def _uncovered_s(stretches: Sequence[Stretch], duration_s: float) -> float:
    covered_s = sum(max(0.0, min(end, duration_s) - start) for start, end in stretches)
    return max(0.0, duration_s - covered_s)
