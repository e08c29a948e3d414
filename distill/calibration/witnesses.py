"""mn04 and YAMNet as witnesses, where their files are."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from distill.calibration.adjudication import Witness
from distill.scoring.clips import TeacherScorer, YamnetScorer
from distill.teachers.config import EfficientATConfig
from distill.teachers.opening import open_teacher
from edge_audio.support.arrays import FloatArray
from edge_audio.support.folders import peers_dir

MN04 = EfficientATConfig(checkpoint="mn04_as_mAP_432.pt", width=0.4, layers=())


class TeacherWitness:
    """mn04 on the whole of what it hears."""

    def __init__(self, scorer: TeacherScorer) -> None:
        self._scorer, self.labels = scorer, scorer.labels

    def probabilities(self, samples: FloatArray) -> FloatArray:
        """f32[n] mono at SAMPLE_RATE_HZ -> f32[n_labels]."""
        return np.asarray(expit(self._scorer.score(samples).scores), np.float32)


class YamnetWitness:
    """YAMNet, by the mean over its windows."""

    def __init__(self, scorer: YamnetScorer) -> None:
        self._scorer, self.labels = scorer, scorer.labels

    def probabilities(self, samples: FloatArray) -> FloatArray:
        """f32[n] mono at SAMPLE_RATE_HZ -> f32[n_labels]."""
        return self._scorer.score(samples).scores


def open_witnesses() -> list[Witness]:
    """mn04, then YAMNet, from $EDGE_AUDIO_PEERS. Raises UsageError where one is missing."""
    teacher = open_teacher(MN04, peers_dir())
    return [TeacherWitness(TeacherScorer(teacher)), YamnetWitness(YamnetScorer(peers_dir()))]
