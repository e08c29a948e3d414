"""Soundscapes and long negatives, composed of held-out clips and heard by several listeners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from distill.data.clip_list import Clip
from distill.data.companions import Company
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
from distill.scoring.streams import Detection, ScoreTrack, StreamScorer

LATENESS_S = 1.0
"""An event may be reported this long after its end and still counts as found."""

Span = tuple[float, float]


def is_in_time(event: TrueEvent, seen_s: float) -> bool:
    """Whether a start that is reported then finds the event."""
    return event.onset_s <= seen_s <= event.offset_s + LATENESS_S


class Rehearsal(NamedTuple):
    """What one listener scored; per scene, of the labels that are compared.

    events: true events of the soundscapes. sounds: all labels of what sounds in the negatives.
    """

    events: Sequence[Sequence[TrueEvent]]
    scenes: Sequence[ScoreTrack]
    sounds: Sequence[Sequence[TrueEvent]]
    negatives: Sequence[ScoreTrack]

    @property
    def durations_s(self) -> list[float]:
        """How long each of the negatives is."""
        return [float(stream.times_s[-1]) for stream in self.negatives]


class Fold(NamedTuple):
    """clips: whole, with all that is in them. bouts: what sounds throughout."""

    clips: list[Sound]
    bouts: list[Sound]


def fold_sounds(folder: Path, clips: Sequence[Clip], n_folds: int) -> list[Fold]:
    """The clips in folds that share no recording, each with a like part of every label's."""
    labels: dict[str, tuple[str, ...]] = {}
    for clip in clips:
        labels.setdefault(clip.group, tuple(sorted(clip.labels)))
    ordered = sorted(labels, key=lambda group: (labels[group], group))
    fold_of = {group: position % n_folds for position, group in enumerate(ordered)}
    folds = []
    for fold in range(n_folds):
        sounds = read_sounds(folder, [clip for clip in clips if fold_of[clip.group] == fold])
        folds.append(Fold(sounds, cut_bouts(sounds)))
    return folds


def rehearse(
    listeners: Sequence[StreamScorer],
    labels: Sequence[str],
    folds: Sequence[Fold],
    config: SoundscapeConfig,
    seed: int,
) -> list[list[Rehearsal]]:
    """Lets all listeners hear the same scenes, made of one fold at a time: soundscapes of bouts
    with one of `labels`, negatives of whole clips. -> a rehearsal for each listener and fold.

    Raises UsageError if no bout of a fold has one of the labels.
    """
    by_fold = [
        _rehearse_fold(listeners, labels, sounds, config, (seed, fold))
        for fold, sounds in enumerate(folds)
    ]
    return [list(mine) for mine in zip(*by_fold, strict=True)]


def _rehearse_fold(
    listeners: Sequence[StreamScorer],
    labels: Sequence[str],
    sounds: Fold,
    config: SoundscapeConfig,
    seed: tuple[int, int],
) -> list[Rehearsal]:
    listed = [
        sound._replace(labels=tuple(x for x in sound.labels if x in labels))
        for sound in sounds.bouts
    ]
    scenes = soundscapes(config, [sound for sound in listed if sound.labels], seed)
    name = f"fold {seed[1] + 1}"
    events, heard = _listen(
        listeners, labels, tracked(scenes, f"{name}: soundscapes", config.n_scenes)
    )
    others, quiet = _listen(
        listeners,
        labels,
        tracked(negatives(config, sounds.clips, seed), f"{name}: negatives", config.n_negatives),
    )
    return [
        Rehearsal(events, mine, others, mine_quiet)
        for mine, mine_quiet in zip(heard, quiet, strict=True)
    ]


def _listen(
    listeners: Sequence[StreamScorer], labels: Sequence[str], scenes: Iterable[Scene]
) -> tuple[list[tuple[TrueEvent, ...]], list[list[ScoreTrack]]]:
    """The events of every scene, and the streams of every listener, scene by scene."""
    columns = [[listener.labels.index(label) for label in labels] for listener in listeners]
    truth: list[tuple[TrueEvent, ...]] = []
    heard: list[list[ScoreTrack]] = [[] for _ in listeners]
    for scene in scenes:
        truth.append(scene.events)
        for listener, chosen, streams in zip(listeners, columns, heard, strict=True):
            times_s, scores = listener.stream(scene.samples)
            streams.append(ScoreTrack(times_s, scores[:, chosen]))
    return truth, heard


class Negatives:
    """Where in scenes a report of a label is a false alarm.

    hours: of each label, in which it cannot be expected.
    """

    def __init__(
        self, sounds: Sequence[Sequence[TrueEvent]], durations_s: Sequence[float], company: Company
    ) -> None:
        """sounds: all labels of what sounds in each scene."""
        self._spans = [
            {label: expected_spans(scene, others) for label, others in company.items()}
            for scene in sounds
        ]
        self.hours = {
            label: sum(
                _uncovered_s(spans[label], duration_s)
                for spans, duration_s in zip(self._spans, durations_s, strict=True)
            )
            / 3600.0
            for label in company
        }

    def is_false(self, scene: int, one: Detection) -> bool:
        """Whether the start that was reported in this scene is a false alarm."""
        return not any(start <= one.seen_s <= end for start, end in self._spans[scene][one.label])


def expected_spans(sounds: Sequence[TrueEvent], company: frozenset[str]) -> list[Span]:
    """When a label may be reported, rising and without overlap."""
    spans = sorted((x.onset_s, x.offset_s + LATENESS_S) for x in sounds if x.label in company)
    merged: list[Span] = []
    for start_s, end_s in spans:
        if merged and start_s <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end_s, merged[-1][1])
        else:
            merged.append((start_s, end_s))
    return merged


def _uncovered_s(spans: Sequence[Span], duration_s: float) -> float:
    covered_s = sum(max(0.0, min(end, duration_s) - start) for start, end in spans)
    return max(0.0, duration_s - covered_s)
