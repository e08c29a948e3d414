"""What a training run starts from, and what is refused before it."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from distill.data.clip_list import read_clip_list
from distill.runs.checkpoints import load_state
from distill.students.mlstm import MLSTMConfig
from distill.students.student import Student
from distill.teachers.parity import architecture_of
from distill.teachers.published.config import Beats
from distill.training.distill import check_start, distill, start_student
from distill.training.recipe import LossConfig
from distill.training.trainer import load_student
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill.workshop import TINY_RECIPE, write_clip_list
from tests.support.parity import COMMITTED, golden_state


def test_an_unsound_manifest_is_refused_before_anything_is_trained(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(csv.DictReader((in_workshop / "data" / "manifest.csv").open()))
    write_clip_list(tmp_path / "data", [{**rows[0], "labels": "Clocks"}, *rows[1:]])
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    with pytest.raises(UsageError, match=r"files are missing.*'Clocks'.*did you mean 'Clock'"):
        distill(TINY_RECIPE, tmp_path / "runs", n_processes=1)
    assert not (tmp_path / "runs").exists()


def test_a_recipe_with_labels_of_its_own_is_refused_by_name(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(TINY_RECIPE, labels=("Bella",))
    with pytest.raises(UsageError, match=r"^labels: .*'Bella'.* `edge-audio learn` teaches others"):
        distill(recipe, tmp_path / "runs", n_processes=1)
    assert not (tmp_path / "runs").exists()


def test_start_from_takes_over_the_weights_and_refuses_other_shapes(in_workshop: Path) -> None:
    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=str(checkpoint))
    trained = load_student(checkpoint)[0].state_dict()
    for name, value in start_student(recipe).state_dict().items():
        assert torch.equal(value, trained[name])
    wider = msgspec.structs.replace(TINY_RECIPE.student, channels=20)
    with pytest.raises(UsageError, match="another shape"):
        start_student(msgspec.structs.replace(recipe, student=wider))


def test_a_student_with_new_mixers_goes_on_from_one_of_another_kind(in_workshop: Path) -> None:
    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    other = msgspec.structs.replace(TINY_RECIPE.student, mixer=MLSTMConfig(n_heads=2))
    recipe = msgspec.structs.replace(TINY_RECIPE, student=other, start_from=str(checkpoint))
    with pytest.raises(UsageError, match="another shape"):
        start_student(recipe)
    new = start_student(msgspec.structs.replace(recipe, start_from="")).state_dict()
    trained = load_student(checkpoint)[0].state_dict()
    started = start_student(msgspec.structs.replace(recipe, new_mixers=True)).state_dict()
    for name, value in started.items():
        assert torch.equal(value, (new if ".mixer." in name else trained)[name])


def test_start_from_a_student_that_heard_the_held_out_clips_is_refused(
    in_workshop: Path, tmp_path: Path
) -> None:
    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    split = msgspec.structs.replace(TINY_RECIPE.split, held_out_folds=(4, 5))
    recipe = msgspec.structs.replace(TINY_RECIPE, split=split, start_from=str(checkpoint))
    with pytest.raises(UsageError, match=r"has heard 6 of \d+ clips that miniature holds out"):
        distill(recipe, tmp_path, n_processes=1)


def test_start_from_a_student_whose_ancestor_heard_the_held_out_clips_is_refused(
    in_workshop: Path, tmp_path: Path
) -> None:
    first = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    split = msgspec.structs.replace(TINY_RECIPE.split, held_out_folds=(4, 5))
    state = load_state(first)
    for name, before in (("second", str(first)), ("round", str(tmp_path / "round.pt"))):
        parent = msgspec.structs.replace(TINY_RECIPE, split=split, start_from=before)
        text = msgspec.json.encode(parent).decode()
        torch.save({**state, "recipe": text}, tmp_path / f"{name}.pt")
    recipe = msgspec.structs.replace(
        TINY_RECIPE, split=split, start_from=str(tmp_path / "second.pt")
    )
    clips = read_clip_list(in_workshop / "data")
    with pytest.raises(UsageError, match=rf"{first} has heard 6 of \d+ clips"):
        check_start(recipe, clips)
    check_start(msgspec.structs.replace(recipe, start_from=str(tmp_path / "round.pt")), clips)


def test_a_run_does_not_go_on_from_what_its_start_has_become(
    in_workshop: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").symlink_to(in_workshop / "runs" / "cache")
    start = tmp_path / "start.pt"
    state = load_state(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")
    torch.save(state, start)
    recipe = msgspec.structs.replace(TINY_RECIPE, name="second", start_from=str(start))
    checkpoint = distill(recipe, tmp_path, n_processes=1)
    assert distill(recipe, tmp_path, n_processes=1) == checkpoint
    state["student"]["head.bias"] += 3.0
    torch.save(state, start)
    with pytest.raises(EdgeAudioError, match="another content of its start_from"):
        distill(recipe, tmp_path, n_processes=1)


def test_prepare_hook_meets_the_student_before_the_first_step(
    in_workshop: Path, tmp_path: Path
) -> None:
    def zero_head(student: Student) -> None:
        nn.init.zeros_(student.head.weight)
        student.head.requires_grad_(False)

    (tmp_path / "cache").symlink_to(in_workshop / "runs" / "cache")
    checkpoint = distill(TINY_RECIPE, tmp_path, n_processes=1, prepare=zero_head)
    assert not load_student(checkpoint)[0].head.weight.any()


def test_quantization_aware_fine_tuning_goes_on_from_the_checkpoint(
    in_workshop: Path, tmp_path: Path
) -> None:
    from quantize.qat import fine_tune

    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    (tmp_path / "cache").symlink_to(in_workshop / "runs" / "cache")
    tuned, recipe = load_student(fine_tune(checkpoint, 4, tmp_path, n_processes=1))
    assert (recipe.start_from, recipe.name) == (str(checkpoint), f"{TINY_RECIPE.name}-qat")
    before = load_student(checkpoint)[0]
    moved = (tuned.head.weight - before.head.weight).abs()
    assert 0 < moved.max() <= 4 * recipe.training.learning_rate * 1.01


def test_quantization_aware_fine_tuning_keeps_mixers_that_were_new_once(
    in_workshop: Path, tmp_path: Path
) -> None:
    from quantize.qat import fine_tune

    first = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=str(first), new_mixers=True)
    text = msgspec.json.encode(recipe).decode()
    torch.save({**load_state(first), "recipe": text}, tmp_path / "trained.pt")
    (tmp_path / "cache").symlink_to(in_workshop / "runs" / "cache")
    tuned, made_by = load_student(fine_tune(tmp_path / "trained.pt", 4, tmp_path, n_processes=1))
    before = load_student(first)[0].state_dict()
    for name, value in tuned.state_dict().items():
        if ".mixer." in name and value.is_floating_point():
            moved = float((value - before[name]).abs().max())
            assert moved <= 4 * made_by.training.learning_rate * 1.01, name


def save_beats(path: Path) -> Path:
    """A pre-trained BEATs in miniature, which has no labels."""
    folder = COMMITTED / "beats"
    weights = {key: value for key, value in golden_state("beats").items() if "predictor" not in key}
    torch.save({"cfg": architecture_of(folder / "golden.npz"), "model": weights}, path)
    return path


def test_a_label_head_that_nothing_would_teach_is_told_of_before_anything_is_made(
    in_workshop: Path, tmp_path: Path
) -> None:
    beats = Beats(checkpoint=str(save_beats(tmp_path / "BEATs.pt")))
    recipe = msgspec.structs.replace(TINY_RECIPE, teachers=(beats,))
    for cache in (True, False):
        training = msgspec.structs.replace(recipe.training, cache=cache)
        with pytest.raises(UsageError, match=r"BEATs has no labels and loss.human is 0"):
            distill(msgspec.structs.replace(recipe, training=training), tmp_path, n_processes=1)
    assert not list((tmp_path / "cache").glob("targets-*/*"))
    weightless = LossConfig(clip=0.0, frame=0.0)
    with pytest.raises(UsageError, match="all terms of labels weigh 0"):
        distill(msgspec.structs.replace(TINY_RECIPE, loss=weightless), tmp_path, n_processes=1)


def test_beside_a_teacher_without_labels_the_head_learns_from_the_clip_list(
    in_workshop: Path, tmp_path: Path
) -> None:
    beats = Beats(checkpoint=str(save_beats(tmp_path / "BEATs.pt")))
    loss = LossConfig(human=1.0)
    recipe = msgspec.structs.replace(TINY_RECIPE, teachers=(beats,), loss=loss)
    trained = load_student(distill(recipe, tmp_path, n_processes=1))[0]
    before = start_student(recipe).state_dict()
    changed = {
        name for name, value in trained.state_dict().items() if (value != before[name]).any()
    }
    assert any(name.startswith("head") for name in changed)
    assert any(name.startswith("blocks") for name in changed)
