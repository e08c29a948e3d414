"""What a student gets beside the teachers' answers: masks, human labels, strong labels."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from distill.data.clip_list import read_clip_list
from distill.data.labels import audioset_labels
from distill.students.student import Student, StudentConfig
from distill.training.inputs import FirstToken, HumanLabels, Masks, StrongLabels
from distill.training.recipe import MaskingConfig
from distill.training.targets import CachedTargets
from tests.distill.workshop import TINY_RECIPE


def test_masks_blank_spans_and_bands_in_their_share_of_the_rows(targets: CachedTargets) -> None:
    student = Student(TINY_RECIPE.student)
    batch = targets.batch(np.arange(64))
    batch["mels"] = batch["mels"] + np.arange(64, dtype=np.float16)  # no value equals the blank
    config = MaskingConfig(share=0.5, n_spans=1, span_s=0.1, n_bands=1, band_mels=4)
    heard = Masks(config, student, seed=0)(batch, step=5)["heard"]
    changed = heard != batch["mels"].astype(np.float32)
    masked_rows = changed.any((1, 2))
    assert 15 <= masked_rows.sum() <= 49
    for row in changed[masked_rows]:
        assert 1 <= row.all(1).sum() <= 10, "at most 0.1 s of frames"
        assert 1 <= row.all(0).sum() <= 4
    again = Masks(config, student, seed=0)(batch, step=5)["heard"]
    np.testing.assert_array_equal(heard, again)
    assert (Masks(config, student, seed=0)(batch, step=6)["heard"] != heard).any()


def test_human_labels_are_those_of_all_sources(in_workshop: Path) -> None:
    clips, labels = read_clip_list(in_workshop / "data"), audioset_labels()
    siren = next(i for i, clip in enumerate(clips) if clip.labels == ("Siren",))
    rain = next(i for i, clip in enumerate(clips) if clip.labels == ("Rain",))
    sources = np.array([[siren, rain, -1], [-1, -1, -1], [rain, rain, -1]])
    human = HumanLabels(clips, labels)({"sources": sources}, 0)["human"]
    named = [{labels[column] for column in np.flatnonzero(row)} for row in human]
    assert named == [{"Siren", "Rain"}, set(), {"Rain"}]


def test_a_clip_without_labels_says_of_no_label_that_it_is_absent(in_workshop: Path) -> None:
    clips, labels = read_clip_list(in_workshop / "data"), audioset_labels()
    siren = next(i for i, clip in enumerate(clips) if clip.labels == ("Siren",))
    rain = next(i for i, clip in enumerate(clips) if clip.labels == ("Rain",))
    clips[rain] = msgspec.structs.replace(clips[rain], labels=())
    sources = np.array([[siren, rain, -1], [siren, -1, -1], [rain, -1, -1]])
    human = HumanLabels(clips, labels)({"sources": sources}, 0)["human"]
    at = labels.index("Siren")
    assert human[:, at].tolist() == [1, 1, -1]
    assert np.unique(np.delete(human, at, axis=1), axis=1).T.tolist() == [[-1, 0, -1]]
    student = Student(StudentConfig(delay_ms=40.0))
    token = round(student.token_s * 16_000)
    mels = np.zeros((2, 10 * student.frames_per_step, 64), np.float16)
    bouts = np.array([[[0, 2 * token, 3 * token - 1], [1, 0, 9 * token]]] * 2)
    bouts[1, 1] = -1, 0, 0
    batch = {"mels": mels, "sources": sources[:2], "bouts": bouts}
    strong = StrongLabels(clips, labels, student)(batch, 0)["strong"]
    assert strong[0, :, at].tolist() == [-1, -1, 1, 1, -1, -1, -1, -1, -1, -1]
    assert (np.delete(strong[0], at, axis=1) == -1).all()
    assert strong[1, :, at].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]


def test_strong_labels_are_those_of_the_clip_that_sounds_in_a_token(in_workshop: Path) -> None:
    clips, labels = read_clip_list(in_workshop / "data"), audioset_labels()
    siren = next(i for i, clip in enumerate(clips) if clip.labels == ("Siren",))
    rain = next(i for i, clip in enumerate(clips) if clip.labels == ("Rain",))
    student = Student(StudentConfig(delay_ms=40.0))
    n_tokens, token = 10, round(student.token_s * 16_000)
    mels = np.zeros((1, n_tokens * student.frames_per_step, 64), np.float16)
    bouts = np.array([[[0, 2 * token, 3 * token - 1], [1, 9 * token, 20 * token], [-1, 0, 0]]])
    batch = {"mels": mels, "sources": np.array([[siren, rain, -1]]), "bouts": bouts}
    strong = StrongLabels(clips, labels, student)(batch, 0)["strong"][0]
    listed = [labels.index(x) for x in ("Siren", "Rain", "Clock")]
    assert (np.delete(strong, listed, axis=1) == -1).all(), "labels that no clip has"
    assert (strong[:, listed[2]] == 0).all(), "clocks are no companions of sirens and rain"
    assert strong[:, listed[0]].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]  # half a token late
    assert strong[:, listed[1]].tolist() == [0] * 9 + [1]


def test_first_token_is_drawn_evenly_by_seed_and_step() -> None:
    draws = [int(FirstToken(3, seed=1)({}, step)["first_token"][0]) for step in range(300)]
    assert all(80 <= draws.count(token) <= 120 for token in range(3))
    assert draws == [int(FirstToken(3, seed=1)({}, step)["first_token"][0]) for step in range(300)]
    assert draws != [int(FirstToken(3, seed=2)({}, step)["first_token"][0]) for step in range(300)]
