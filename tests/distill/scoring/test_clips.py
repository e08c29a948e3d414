"""Every scorer hears a whole clip, and nothing of the clip before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.data.audio import read_clip
from distill.data.clip_list import read_clip_list
from distill.scoring.clips import (
    BundleScorer,
    Scorer,
    StudentScorer,
    TeacherScorer,
    YamnetScorer,
    pool_steps,
    whole_steps,
)
from distill.students.student import Student
from distill.teachers.opening import open_teacher
from edge_audio.bundle.store import Bundle
from tests.distill.workshop import TINY_RECIPE, TINY_STUDENT, TINY_TEACHER, sound

RATE_HZ = 16_000


def make_student() -> Student:
    torch.manual_seed(0)
    student = Student(TINY_STUDENT)
    torch.nn.init.normal_(student.head.bias, -1.0, 1.0)
    return student.eval()


@pytest.fixture(params=["student", "teacher"])
def scorer(request: pytest.FixtureRequest, in_workshop: Path) -> Scorer:
    if request.param == "student":
        return StudentScorer("student", make_student())
    return TeacherScorer(open_teacher(TINY_TEACHER, in_workshop / "peers"))


def test_scores_have_one_finite_number_per_label_for_clips_of_any_length(scorer: Scorer) -> None:
    rng = np.random.default_rng(0)
    shapes = set()
    for n_samples in (1_000, 1_520, 1_521, 16_000, 40_000):
        clip = scorer.score(sound("rain", n_samples, rng))
        assert clip.scores.shape == (len(scorer.labels),) == (527,)
        assert np.isfinite(clip.scores).all()
        assert all(np.isfinite(value).all() for value in clip.features.values())
        shapes.add(tuple((name, value.shape) for name, value in clip.features.items()))
    assert len(shapes) == 1
    assert {name for name, _ in shapes.pop()} == {"embedding", "scores"}


def test_a_clip_scores_the_same_after_any_other(scorer: Scorer) -> None:
    rng = np.random.default_rng(1)
    clip, other = sound("siren", RATE_HZ, rng), sound("rain", 2 * RATE_HZ, rng)
    first = scorer.score(clip)
    scorer.score(other)
    again = scorer.score(clip)
    np.testing.assert_array_equal(first.scores, again.scores)
    np.testing.assert_array_equal(first.features["embedding"], again.features["embedding"])


def test_student_is_scored_on_the_maximum_of_its_steps(in_workshop: Path) -> None:
    student = make_student()
    samples = sound("siren", 240 + 20 * 1280, np.random.default_rng(2))
    from edge_audio.features.frontend import log_mel

    n_quiet = student.model_spec().quiet_steps
    assert n_quiet == 25
    quiet = log_mel(TINY_STUDENT.frontend, np.zeros(240 + n_quiet * 1280, np.float32))
    frames = np.concatenate([quiet, log_mel(TINY_STUDENT.frontend, samples)])
    with torch.inference_mode():
        output = student(torch.from_numpy(frames)[None])
    found = StudentScorer("student", student).score(samples)
    expected = torch.sigmoid(output.logits)[0, n_quiet:].amax(0).numpy()
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    embedding = output.embedding[0, n_quiet:]
    pooled = torch.cat([embedding.mean(0), embedding.amax(0)]).numpy()
    np.testing.assert_allclose(found.features["embedding"], pooled, atol=1e-5)


@pytest.mark.parametrize(
    ("n_samples", "n_steps"), [(1, 1), (1_520, 1), (1_521, 2), (2_800, 2), (80_000, 63)]
)
def test_padding_completes_the_last_step(n_samples: int, n_steps: int) -> None:
    spec = Student(TINY_STUDENT).model_spec()
    samples = np.full(n_samples, 0.5, np.float32)
    padded = whole_steps(samples, spec)
    assert len(padded) == 240 + 1280 * n_steps
    np.testing.assert_array_equal(padded[:n_samples], samples)
    assert not padded[n_samples:].any()


def test_pooled_features_are_finite_for_certain_scores() -> None:
    pooled = pool_steps(np.array([[0.0, 1.0], [0.5, 1.0]], np.float32))
    assert pooled.scores.tolist() == [0.5, 1.0]
    assert np.isfinite(pooled.features["scores"]).all()


def test_bundle_scores_as_its_student_does(float_bundle: Bundle, in_workshop: Path) -> None:
    from distill.training.trainer import load_student

    student, _ = load_student(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")
    eager, exported = StudentScorer("eager", student), BundleScorer(float_bundle)
    assert exported.labels == eager.labels
    rng = np.random.default_rng(3)
    for kind, n_samples in (("siren", 9_000), ("rain", 16_000), ("clock_tick", 30_000)):
        clip = sound(kind, n_samples, rng)
        expected, found = eager.score(clip), exported.score(clip)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(found.features["scores"], expected.features["scores"], atol=2e-2)


def test_yamnet_names_most_clips(peers_dir: Path, clip_list: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    scorer = YamnetScorer(peers_dir)
    assert len(scorer.labels) == len(set(scorer.labels)) == 521
    listed = [clip for clip in read_clip_list(clip_list) if clip.esc10_class]
    clips = sorted(listed, key=lambda clip: clip.path)
    chosen = [clips[i] for i in np.random.default_rng(0).permutation(len(clips))[:20]]
    n_right = 0
    for clip in chosen:
        scores = scorer.score(read_clip(clip_list.parent / clip.path, RATE_HZ)).scores
        n_right += bool({scorer.labels[i] for i in np.argsort(-scores)[:5]} & set(clip.labels))
    assert n_right >= 14


def test_yamnet_hears_short_clips_and_averages_over_its_windows(peers_dir: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    scorer = YamnetScorer(peers_dir)
    window = sound("siren", 15_600, np.random.default_rng(4))
    silence = np.zeros(3 * 15_600, np.float32)
    alone, quiet = scorer.score(window).scores, scorer.score(silence).scores
    one_and_a_half = np.concatenate([window, np.zeros(7_800, np.float32)])
    tail = scorer.score(one_and_a_half[7_800:]).scores
    np.testing.assert_allclose(scorer.score(one_and_a_half).scores, (alone + tail) / 2, atol=1e-6)
    assert np.isfinite(scorer.score(window[:4_000]).scores).all()
    assert scorer.labels[int(quiet.argmax())] == "Silence"
