"""Clips without labels as further negatives: of labels that a teacher does not hear in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.calibration.adjudication import Witness
from distill.calibration.scenes import SceneScores, fold_of_groups
from distill.data.audio import read_clip
from distill.data.clip_list import Clip
from distill.mixing.soundscapes import SAMPLE_RATE_HZ, TrueEvent
from distill.progress import tracked
from distill.scoring.streams import ScoreTrack, StreamScorer
from edge_audio.support.arrays import FloatArray

ABSENT_BELOW = 0.05
"""A label that the teacher gives less than this in a whole clip does not sound in it."""


def with_unlabelled(
    scorer: StreamScorer,
    teacher: Witness,
    labels: Sequence[str],
    folder: Path,
    clips: Sequence[Clip],
    scored: Sequence[SceneScores],
) -> list[SceneScores]:
    """The scenes of each fold, and as further negatives the clips without labels, each a scene in
    which all that the teacher may hear is taken to sound throughout. A report of a label is false
    there only if the teacher gives neither it nor any companion ABSENT_BELOW."""
    columns = [scorer.labels.index(label) for label in labels]
    unlabelled = [clip for clip in clips if not clip.labels]
    fold_of = fold_of_groups(unlabelled, len(scored))
    tracks: list[list[ScoreTrack]] = [[] for _ in scored]
    sounds: list[list[tuple[TrueEvent, ...]]] = [[] for _ in scored]
    for clip in tracked(unlabelled, "clips without labels"):
        samples = read_clip(folder / clip.path, SAMPLE_RATE_HZ)
        track = scorer.track(samples)
        if len(track.times_s):
            fold = fold_of[clip.group]
            tracks[fold].append(ScoreTrack(track.times_s, track.scores[:, columns]))
            sounds[fold].append(_may_sound(teacher, samples))
    return [
        one._replace(sounds=[*one.sounds, *sounds[fold]], negatives=[*one.negatives, *tracks[fold]])
        for fold, one in enumerate(scored)
    ]


def _may_sound(teacher: Witness, samples: FloatArray) -> tuple[TrueEvent, ...]:
    scores = teacher.probabilities(samples)
    duration_s = len(samples) / SAMPLE_RATE_HZ
    present = np.flatnonzero(scores >= ABSENT_BELOW)
    return tuple(TrueEvent(teacher.labels[i], 0.0, duration_s) for i in present)
