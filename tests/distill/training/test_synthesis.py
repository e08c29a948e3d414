"""Synthesised sounds: the same for the same seed, and only those that a teacher agrees with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from distill.data.audio import read_clip
from distill.data.checks import check_clip_list
from distill.data.clip_list import read_clip_list
from distill.data.labels import LABELS_NAME, read_class_map
from distill.mixing.synthetic import KINDS, RATE_HZ, synthesise
from distill.teachers.base import Layer, TeacherOutput
from distill.training.synthesis import SOURCE, add_synthetic, agreed_labels
from edge_audio.errors import UsageError
from tests.distill.workshop import make_data
from tests.support.floors import all_imports

LABELS = {label for kind in KINDS.values() for label in kind.labels}
NAMES = ["Siren", "Vehicle", *(f"Class {index}" for index in range(20))]


class Opinionated:
    """A teacher that hears the same in every sound: `likeliest`, then all other NAMES."""

    sample_rate_hz, label_frames, name = RATE_HZ, None, "opinionated"
    layers: tuple[Layer, ...] = ()

    def __init__(self, likeliest: Sequence[str]) -> None:
        others = [name for name in NAMES if name not in likeliest]
        self.labels = (*likeliest, *others)

    def __call__(self, waveform: torch.Tensor, lengths: object = None) -> TeacherOutput:
        n = len(self.labels)
        return TeacherOutput((), torch.arange(n, 0, -1.0).repeat(len(waveform), 1))


@pytest.mark.parametrize("name", KINDS)
def test_a_variant_follows_from_seed_and_index(name: str) -> None:
    one, again, other, later = (
        synthesise(name, seed, index) for seed, index in ((0, 3), (0, 3), (1, 3), (0, 4))
    )
    np.testing.assert_array_equal(one, again)
    assert one.dtype == np.float32
    assert np.abs(one).max() <= 1.0
    assert 3.0 <= len(one) / RATE_HZ <= 9.0
    assert 10 * np.log10(np.square(one).mean()) > -50.0, "it can be heard"
    for another in (other, later):
        n = min(len(one), len(another))
        assert abs(np.corrcoef(one[:n], another[:n])[0, 1]) < 0.5, "no two are alike"


def test_kinds_have_labels_that_audioset_knows(peers_dir: Path) -> None:
    assert set(read_class_map(peers_dir / LABELS_NAME)) >= LABELS


def test_the_demo_scene_is_made_elsewhere() -> None:
    imports = all_imports()
    assert imports["distill.mixing.synthetic"] == {
        "distill.mixing.mixtures",
        "edge_audio.support.arrays",
    }
    assert not any("demo" in name for name in imports["distill.training.synthesis"])


def test_a_label_stays_if_it_or_a_related_one_is_among_the_likeliest_ten() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    wanted = ("Siren", "Engine")
    assert agreed_labels(Opinionated(["Siren"]), silence, wanted) == ("Siren",)
    assert agreed_labels(Opinionated(["Police car (siren)"]), silence, wanted) == ("Siren",)
    assert agreed_labels(Opinionated(NAMES[2:11]), silence, wanted) == ("Siren",), "the tenth"
    assert agreed_labels(Opinionated(NAMES[2:12]), silence, wanted) == (), "the eleventh"


def test_only_accepted_sounds_are_written_with_their_rows(tmp_path: Path) -> None:
    variants = list(add_synthetic(tmp_path, Opinionated(["Siren"]), 2, seed=0))
    assert Counter(one.kind for one in variants) == dict.fromkeys(KINDS, 2)
    accepted = {one.kind for one in variants if one.labels}
    assert {"siren-wail", "siren-yelp", "siren-two-tone", "air-raid-siren"} <= accepted
    assert "kettle" not in accepted
    clips = read_clip_list(tmp_path)
    assert len(clips) == sum(bool(one.labels) for one in variants)
    assert {path.name for path in (tmp_path / "synthetic").iterdir()} == {
        Path(clip.path).name for clip in clips
    }
    assert check_clip_list(tmp_path, clips, LABELS) == []
    assert {(clip.tier, clip.licence, clip.source) for clip in clips} == {("A", "CC0 1.0", SOURCE)}
    assert {clip.fold for clip in clips} <= {1, 2, 3, 4}
    assert len({clip.group for clip in clips}) == len(clips)
    first = clips[0]
    assert read_clip(tmp_path / first.path, RATE_HZ).size == round(first.duration_s * RATE_HZ)


def test_rows_are_appended_to_a_clip_list_and_replaced_the_next_time(tmp_path: Path) -> None:
    make_data(tmp_path, n_per_fold=1)
    before = read_clip_list(tmp_path)
    whole = (tmp_path / "manifest.csv").rename(tmp_path / "whole.csv")
    teacher = Opinionated(["Siren"])
    for n_variants in (2, 1):
        n_accepted = sum(bool(x.labels) for x in add_synthetic(whole, teacher, n_variants, 0))
        clips = read_clip_list(whole)
        assert clips[: len(before)] == before
        assert len(clips) == len(before) + n_accepted
    assert not (tmp_path / "manifest.csv").exists()
    assert sf.info(tmp_path / clips[-1].path).samplerate == RATE_HZ


def test_a_teacher_without_labels_cannot_check(tmp_path: Path) -> None:
    teacher = Opinionated([])
    teacher.labels = ()
    with pytest.raises(UsageError, match="no labels"):
        list(add_synthetic(tmp_path, teacher, 1, seed=0))
    assert not list(tmp_path.iterdir())
