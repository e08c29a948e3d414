"""What is heard in a scored, and where a report is false."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from distill.calibration.scenes import LATENESS_S, Negatives, expected_stretches, fold_sounds
from distill.data.clip_list import read_clip_list
from distill.data.companions import find_companions
from distill.mixing.soundscapes import TrueEvent
from distill.scoring.streams import Segment
from tests.distill.workshop import RATE_HZ, row, write_clip_list


def test_folds_share_no_recording_and_have_a_like_part_of_every_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for label in ("Dog", "Cat"):
        for group in range(6):
            for take in range(2):
                name = f"{label}-{group}-{take}.wav"
                sf.write(tmp_path / name, rng.uniform(-0.5, 0.5, RATE_HZ), RATE_HZ)
                rows.append(row(name, "rain", 1, f"{label}-{group}", labels=label))
    write_clip_list(tmp_path, rows)
    clips = read_clip_list(tmp_path)
    folds = fold_sounds(tmp_path, clips, 3)
    for sounds, bouts in folds:
        assert len(bouts) == len(sounds)
        assert [sound.labels for sound in sounds].count(("Dog",)) == 4
        assert [sound.labels for sound in sounds].count(("Cat",)) == 4
    takes = [{tuple(sound.samples[:9].tolist()) for sound in fold.clips} for fold in folds]
    assert len(set.union(*takes)) == sum(map(len, takes)) == 24


def test_company_is_what_stands_beside_a_label_and_its_kin(tmp_path: Path) -> None:
    labels = ["Dog;Howl", "Howl", "Engine", "Dog", "", "Engine;Wind"]
    write_clip_list(
        tmp_path, [row(f"{i}.wav", "rain", 1, f"g{i}", labels=x) for i, x in enumerate(labels)]
    )
    companions = find_companions(read_clip_list(tmp_path), ("Dog", "Wind"))
    assert {"Dog", "Howl", "Bark"} <= companions["Dog"]
    assert companions["Dog"].isdisjoint({"Engine", "Wind", "Cat"})
    assert {"Wind", "Engine"} <= companions["Wind"]


def test_expected_spans_end_late_and_do_not_overlap() -> None:
    sounds = [
        TrueEvent("Dog", 5.0, 6.0),
        TrueEvent("Bark", 1.0, 2.0),
        TrueEvent("Cat", 20.0, 30.0),
        TrueEvent("Dog", 2.5, 3.0),
    ]
    spans = expected_stretches(sounds, frozenset({"Dog", "Bark"}))
    assert spans == [(1.0, 3.0 + LATENESS_S), (5.0, 6.0 + LATENESS_S)]


def test_a_report_is_false_where_nothing_of_its_company_sounds() -> None:
    sounds = [TrueEvent("Bark", 10.0, 45.0 - LATENESS_S), TrueEvent("Cat", 3590.0, 3600.0)]
    companions = {"Dog": frozenset({"Dog", "Bark"}), "Cat": frozenset({"Cat"})}
    negatives = Negatives([sounds], [3600.0], companions)

    def is_false(label: str, seen_s: float) -> bool:
        return negatives.is_false(0, Segment(label, seen_s, seen_s, seen_s))

    assert [is_false("Dog", t) for t in (9.0, 11.0, 44.9, 45.1)] == [True, False, False, True]
    assert is_false("Cat", 11.0)
    assert not is_false("Cat", 3599.0)
    assert negatives.hours["Dog"] == pytest.approx(1.0 - 35.0 / 3600.0)
    assert negatives.hours["Cat"] == pytest.approx(1.0 - 10.0 / 3600.0)
