"""Clips without labels count as negatives of what a teacher does not hear in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from distill.calibration.scenes import Negatives, SceneScores
from distill.calibration.unlabelled import with_unlabelled
from distill.data.clip_list import read_clip_list
from distill.data.companions import find_companions
from distill.scoring.streams import Segment, WindowStreamScorer
from tests.distill.workshop import RATE_HZ, row, write_clip_list

LABELS = ("Dog", "Siren")


class Barking:
    """Always hears something like a bark, and a siren far away."""

    labels: tuple[str, ...] = ("Bark", "Siren")

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        return np.array([0.06, 0.04], np.float32)


def test_a_report_is_false_only_where_the_teacher_hears_nothing_of_the_kind(tmp_path: Path) -> None:
    labels = ["", "", "", "Dog"]
    for i in range(4):
        sf.write(tmp_path / f"{i}.wav", np.full(2 * RATE_HZ, 0.1), RATE_HZ)
    rows = [row(f"{i}.wav", "rain", 5, f"g{i}", labels=x) for i, x in enumerate(labels)]
    write_clip_list(tmp_path, rows)
    clips = read_clip_list(tmp_path)
    scorer = WindowStreamScorer(
        "all", ("Cat", *LABELS), 0.1, 0.05, RATE_HZ, lambda x: np.full((len(x), 3), 0.9, np.float32)
    )
    empty = SceneScores([], [], [], [])
    found = with_unlabelled(scorer, Barking(), LABELS, tmp_path, clips, [empty] * 3)
    assert [len(one.negatives) for one in found] == [1, 1, 1], "the labelled clip is not among them"
    assert found[0].negatives[0].scores.shape[1] == len(LABELS)
    negatives = Negatives(found[0].sounds, found[0].durations_s, find_companions([], LABELS))
    assert negatives.hours["Siren"] == pytest.approx(2.0 / 3600.0)
    assert negatives.hours["Dog"] == 0.0, "there may be a bark"
    assert negatives.is_false(0, Segment("Siren", 0.5, 1.0, 0.6))
    assert not negatives.is_false(0, Segment("Dog", 0.5, 1.0, 0.6))
