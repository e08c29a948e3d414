"""Fold-wise fine-tuning hears nothing of the fold that it is scored on."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from distill.cli.evaluate import export_classifier
from distill.data.clip_list import Clip
from distill.evaluation.figures import draw_folds
from distill.evaluation.fold_data import FineTuning, FoldData
from distill.evaluation.fold_results import FOLDS, FoldScores, accuracies, is_leaky, summarise
from distill.evaluation.fold_tables import describe, to_table
from distill.evaluation.folds import (
    FoldRecipe,
    fine_tune,
    log_mean_exp,
    require_fold_unheard,
    score_fold,
)
from distill.evaluation.results import write_results
from distill.mixing.mixtures import MixtureConfig
from distill.runs.toml import read_toml
from distill.training.recipe import LossConfig, Recipe, TrainingConfig, read_recipe
from distill.training.trainer import load_student
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill.workshop import KINDS, TINY_RECIPE, write_clip_list
from tests.support.paths import REPOSITORY

RECIPES = REPOSITORY / "distill" / "recipes"
SETTINGS = FineTuning(
    seed=1,
    training=TrainingConfig(n_mixtures=64, n_steps=30, batch_size=16, n_warmup_steps=3),
    mixture=MixtureConfig(duration_s=1.28, n_sources_weights=(0, 1, 1)),
    loss=LossConfig(n_layers=1),
    n_other_mixtures=64,
)


@pytest.fixture(scope="module")
def data(workshop_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AUDIO_DATA", str(workshop_dir / "data"))
        patch.setenv("EDGE_AUDIO_PEERS", str(workshop_dir / "peers"))
        return FoldData(TINY_RECIPE, SETTINGS, tmp_path_factory.mktemp("cache"), 1)


@pytest.mark.parametrize("fold", FOLDS)
def test_mixtures_of_a_fold_are_made_of_its_clips_alone(data: FoldData, fold: int) -> None:
    targets = data.targets[fold]
    sources = targets.batch(np.arange(len(targets)))["sources"]
    heard = {data.clips[source] for source in sources[sources >= 0]}
    assert {clip.fold for clip in heard} == {fold}
    assert all(clip.is_esc for clip in heard)


@pytest.mark.parametrize("fold", FOLDS)
def test_training_targets_leave_the_fold_out(data: FoldData, fold: int) -> None:
    arrays = data.training_targets(fold).arrays
    heard = [data.clips[i] for i in arrays["sources"][arrays["sources"] >= 0]]
    assert {clip.fold for clip in heard if clip.is_esc} == set(FOLDS) - {fold}
    others = {clip.path for clip in heard if not clip.is_esc}
    assert others <= {data.clips[i].path for i in TINY_RECIPE.split.training_positions(data.clips)}
    assert len(others) > 10
    np.testing.assert_allclose(arrays["classes"].sum(1), 1.0, rtol=1e-5)


def test_class_targets_mix_true_classes_and_the_teachers_opinion(data: FoldData) -> None:
    arrays = data.training_targets(2).arrays
    for sources, classes in zip(arrays["sources"], arrays["classes"], strict=True):
        heard = [data.clips[source].esc50_class for source in sources if source >= 0]
        if not any(heard):
            assert classes.max() < 1.0, "the teacher's opinion alone"
            continue
        for column, name in enumerate(data.classes):
            assert classes[column] >= 0.5 * heard.count(name) / len(heard) - 1e-6


def test_held_out_clips_do_not_reach_the_teachers_regression(data: FoldData) -> None:
    before = data.training_targets(3).arrays["classes"]
    kept, data.truth = data.truth, np.where(data.folds == 3, 0, data.truth)
    try:
        np.testing.assert_array_equal(data.training_targets(3).arrays["classes"], before)
    finally:
        data.truth = kept


def test_a_student_that_heard_esc_is_refused(data: FoldData) -> None:
    require_fold_unheard(data, fold=1)
    split = msgspec.structs.replace(TINY_RECIPE.split, hold_out_esc=False)
    kept, data.recipe = data.recipe, msgspec.structs.replace(TINY_RECIPE, split=split)
    try:
        with pytest.raises(EdgeAudioError, match=r"has heard 6 of 6 clips of fold 1.*hold_out_esc"):
            require_fold_unheard(data, fold=1)
    finally:
        data.recipe = kept


def test_a_fold_without_clips_is_named(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(csv.DictReader((in_workshop / "data" / "manifest.csv").open()))
    write_clip_list(tmp_path, [row for row in rows if row["fold"] != "2"])
    (tmp_path / "esc").symlink_to(in_workshop / "data" / "esc")
    (tmp_path / "other").symlink_to(in_workshop / "data" / "other")
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=r"no ESC clips in folds \[2\]"):
        FoldData(TINY_RECIPE, SETTINGS, tmp_path / "cache", 1)


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("loss", "human", "1.0"),
        ("loss", "strong", "1.0"),
        ("loss", "token_stride", "3"),
        ("training", "cache", "false"),
        ("training", "watch_every_steps", "10"),
    ],
)
def test_a_setting_that_folds_have_no_use_for_is_refused(
    tmp_path: Path, section: str, setting: str, value: str
) -> None:
    path = tmp_path / "folds.toml"
    extends = f'extends = "{RECIPES / "folds.toml"}"'
    path.write_text(f"{extends}\n[{section}]\n{setting} = {value}\n")
    with pytest.raises(UsageError, match=setting):
        read_toml(path, FineTuning)


@pytest.fixture(scope="module")
def classifier(
    data: FoldData, workshop_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    student, recipe = load_student(workshop_dir / "runs" / TINY_RECIPE.name / "checkpoint.pt")
    fold_recipe = FoldRecipe(name="fold-4", fold=4, student_sha256="", fine_tuning=SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AUDIO_PEERS", str(workshop_dir / "peers"))
        folder = tmp_path_factory.mktemp("fold-4")
        return fine_tune(student, recipe, fold_recipe, data, folder)


def test_classifier_is_a_student_with_the_classes_as_labels(classifier: Path) -> None:
    student, recipe = load_student(classifier)
    assert recipe.labels == tuple(sorted(KINDS))
    assert student.head.weight.shape == (3, TINY_RECIPE.student.embedding_dim)
    assert recipe.split.held_out_folds == (4,)
    assert not recipe.split.hold_out_esc


def test_behind_silence_the_classes_too_are_learned_as_a_stream_begins(
    data: FoldData, in_workshop: Path, tmp_path: Path
) -> None:
    losses = []
    for behind_silence in (False, True):
        student, recipe = load_student(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")
        training = msgspec.structs.replace(
            SETTINGS.training, n_steps=25, behind_silence=behind_silence
        )
        settings = msgspec.structs.replace(SETTINGS, training=training)
        name = f"behind-{behind_silence}"
        fold_recipe = FoldRecipe(name=name, fold=4, student_sha256="", fine_tuning=settings)
        fine_tune(student, recipe, fold_recipe, data, tmp_path / name)
        with (tmp_path / name / "metrics.csv").open() as file:
            losses.append(float(next(csv.DictReader(file))["class"]))
    assert losses[0] != losses[1]


def test_int8_bundle_of_a_fold_answers_like_its_float_student(
    classifier: Path, data: FoldData, capfd: pytest.CaptureFixture[str]
) -> None:
    for module in ("onnxruntime", "litert_torch"):
        pytest.importorskip(module, reason="needs the onnx and export extras")
    capfd.readouterr()
    scores = score_fold(classifier, data, 4, export_classifier)
    assert capfd.readouterr().out == "", "the table alone is a result"
    clips = [data.clips[index] for index in scores.positions]
    assert len(clips) == 6
    assert {clip.fold for clip in clips} == {4}
    np.testing.assert_allclose(scores.bundle, scores.student, atol=0.3)
    assert np.ptp(scores.student) > 0.1


def test_log_mean_exp_lies_between_mean_and_maximum() -> None:
    logits = 4.0 * torch.randn(5, 20, 3, generator=torch.Generator().manual_seed(0))
    pooled = log_mean_exp(logits)
    assert (pooled > logits.mean(1)).all()
    assert (pooled < logits.amax(1)).all()
    torch.testing.assert_close(log_mean_exp(logits[:, :1]), logits[:, 0])


def clip(name: str, fold: int, group: str, kind: str, esc10: str = "") -> Clip:
    return Clip(
        path=f"esc/{name}.ogg",
        tier="A",
        labels=(),
        esc10_class=esc10,
        esc50_class=kind,
        fold=fold,
        group=group,
        duration_s=5.0,
        licence="CC0",
    )


CLIPS = [
    clip("a", 1, "g1", "dog", "dog"),
    clip("b", 2, "fs:131943", "dog", "dog"),
    clip("c", 3, "g3", "rain", "rain"),
    clip("5-151085-A", 4, "g4", "saw"),
    clip("e", 5, "g5", "saw"),
]
CLASSES = ("dog", "rain", "saw")


def test_leaky_clips_are_those_of_the_listed_recordings_and_twins() -> None:
    assert is_leaky(CLIPS).tolist() == [False, True, False, True, False]


def test_accuracies_by_hand() -> None:
    """Wrong: clip 0 (dog heard as saw, but as dog among ESC-10's classes) and clip 3."""
    logits = np.array([[1, 0, 2], [3, 0, 0], [0, 1, 0], [5, 0, 1], [0, 0, 9]], np.float32)
    report = accuracies(logits, np.array([0, 0, 1, 2, 2]), CLIPS, CLASSES)
    assert (report.esc50.value, report.esc50.n) == pytest.approx((3 / 5, 5))
    assert report.esc50_folds == (0, 1, 1, 0, 1)
    assert (report.esc50_leak_aware.value, report.esc50_leak_aware.n) == pytest.approx((2 / 3, 3))
    assert (report.esc10.value, report.esc10.n) == (1.0, 3)
    assert report.esc10_leak_aware.n == 2


def test_summary_counts_confusions_and_writes_its_files(tmp_path: Path) -> None:
    scores = [
        FoldScores(np.array([index]), np.eye(3, dtype=np.float32)[[0]], row[None])
        for index, row in enumerate(np.eye(3, dtype=np.float32)[[2, 0, 1, 0, 2]])
    ]
    report = summarise("runs/x/checkpoint.pt", "x", CLIPS, CLASSES, scores)
    assert report.confusion == ((1, 0, 1), (0, 1, 0), (1, 0, 1))
    assert report.held_out_groups[:2] == (("g1",), ("fs:131943",))
    assert report.n_leaky_clips == 2
    assert to_table(report).row_count == 5
    assert "fold 1: 1, fold 2: 1" in describe(report)
    write_results(report, tmp_path / "folds.json")
    draw_folds(report, tmp_path)
    assert (tmp_path / "confusion.png").stat().st_size > 10_000
    assert msgspec.json.decode((tmp_path / "folds.json").read_bytes())["n_leaky_clips"] == 2


@pytest.mark.parametrize("path", sorted(RECIPES.glob("folds*.toml")), ids=lambda path: path.stem)
def test_shipped_fold_recipe_reads_and_fits_the_shipped_students(path: Path) -> None:
    settings = read_toml(path, FineTuning)
    recipe = read_recipe(RECIPES / "esc_free.toml")
    assert isinstance(recipe, Recipe)
    assert recipe.split.hold_out_esc
    assert settings.mixture.duration_s > 5.0, "an ESC clip fits, at random onsets"
