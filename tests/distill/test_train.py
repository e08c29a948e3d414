"""A run can be stopped anywhere and ends with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from workshop import TINY_RECIPE

from distill.cache import TargetCache
from distill.data import read_manifest
from distill.recipe import Recipe
from distill.train import Trainer, balance, build_cache, distill, load_student, training_clips
from edge_audio.errors import EdgeAudioError

Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays(in_workshop: Path) -> Arrays:
    return build_cache(TINY_RECIPE, in_workshop / "runs" / "cache", 1).load()


def leaves(tree: Any) -> list[Any]:
    """Everything in nested dicts, lists and tuples, in order."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree, key=str) for leaf in [key, *leaves(tree[key])]]
    if isinstance(tree, list | tuple):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def assert_same_bits(a: Path, b: Path) -> None:
    first, second = (leaves(torch.load(path, weights_only=True)) for path in (a, b))
    assert len(first) == len(second) > 100
    for x, y in zip(first, second, strict=True):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y


def stop_after(trainer: Trainer, n_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills the run within a step, as Ctrl-C would."""
    train_step = trainer._train_step

    def step(batch: np.ndarray) -> dict[str, float]:
        if trainer.step == n_steps:
            raise KeyboardInterrupt
        return train_step(batch)

    monkeypatch.setattr(trainer, "_train_step", step)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


def make_trainer(folder: Path, arrays: Arrays, recipe: Recipe = TINY_RECIPE) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(recipe, folder, arrays)


@pytest.mark.parametrize("n_steps", [3, 5])
def test_interrupted_and_resumed_run_ends_with_the_bits_of_a_straight_one(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_steps: int
) -> None:
    straight = make_trainer(tmp_path / "straight", arrays).run()
    stop_after(make_trainer(tmp_path / "resumed", arrays), n_steps, monkeypatch)
    saved = torch.load(tmp_path / "resumed" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 3
    resumed = make_trainer(tmp_path / "resumed", arrays).run()
    assert_same_bits(straight, resumed)


def test_distil_again_makes_the_same_student(in_workshop: Path, tmp_path: Path) -> None:
    again = distill(TINY_RECIPE, tmp_path, n_processes=1)
    assert_same_bits(again, in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")


def test_training_changes_every_weight_and_lowers_the_loss(arrays: Arrays, tmp_path: Path) -> None:
    training = msgspec.structs.replace(TINY_RECIPE.training, n_steps=24, learning_rate=1e-2)
    recipe = msgspec.structs.replace(TINY_RECIPE, training=training)
    trainer = make_trainer(tmp_path / "run", arrays, recipe)
    before = {name: p.clone() for name, p in trainer.student.named_parameters()}
    batch = np.arange(32)
    first = trainer._train_step(batch)["loss"]
    trainer.run()
    unmoved = [n for n, p in trainer.student.named_parameters() if torch.equal(p, before[n])]
    assert not unmoved
    assert trainer._train_step(batch)["loss"] < 0.8 * first


def test_other_recipe_in_the_same_folder_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    make_trainer(tmp_path / "run", arrays).run()
    other = msgspec.structs.replace(TINY_RECIPE, seed=4)
    with pytest.raises(EdgeAudioError, match="different recipe"):
        make_trainer(tmp_path / "run", arrays, other).run()


@pytest.mark.parametrize("field", ["mels", "features"])
def test_broken_loss_stops_the_run_and_keeps_the_last_checkpoint(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    stop_after(make_trainer(tmp_path / "run", arrays), 4, monkeypatch)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    poisoned = {**arrays, field: np.full_like(arrays[field], np.nan)}
    with pytest.raises(EdgeAudioError, match=r"loss is nan at step 3.*learning_rate"):
        make_trainer(tmp_path / "run", poisoned).run()
    assert checkpoint.read_bytes() == before


def test_only_clips_of_the_split_are_trained_on(in_workshop: Path) -> None:
    clips = read_manifest(in_workshop / "data")
    chosen = [clips[index] for index in training_clips(TINY_RECIPE, clips)]
    assert len(chosen) == 24
    assert all(clip.fold != 5 and not clip.is_esc for clip in chosen)


def test_cache_of_another_split_lies_elsewhere(in_workshop: Path, tmp_path: Path) -> None:
    split = msgspec.structs.replace(TINY_RECIPE.split, held_out_folds=(4,))
    other = msgspec.structs.replace(TINY_RECIPE, split=split)
    caches = [build_cache(recipe, tmp_path, 1) for recipe in (TINY_RECIPE, other)]
    assert all(isinstance(cache, TargetCache) for cache in caches)
    assert caches[0].folder != caches[1].folder


def test_balance_favours_rare_labels(in_workshop: Path) -> None:
    clips = read_manifest(in_workshop / "data")
    n_sirens = sum("Siren" in clip.labels for clip in clips)
    common = [clip for clip in clips if "Siren" in clip.labels]
    rare = next(clip for clip in clips if "Rain" in clip.labels)
    odds = balance([*common, rare])
    assert odds[-1] == 1.0
    assert odds[:-1] == pytest.approx(n_sirens**-0.5)


def test_loaded_student_gives_the_trained_numbers(in_workshop: Path) -> None:
    path = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    student, recipe = load_student(path)
    assert recipe == TINY_RECIPE
    assert not student.training
    state = torch.load(path, weights_only=True)["student"]
    assert all(torch.equal(value, state[name]) for name, value in student.state_dict().items())


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeAudioError, match="run edge-audio distill"):
        load_student(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(EdgeAudioError, match="not a student checkpoint"):
        load_student(tmp_path / "other.pt")
    (tmp_path / "noise.pt").write_bytes(b"\x00" * 100)
    with pytest.raises(EdgeAudioError, match="not a student checkpoint"):
        load_student(tmp_path / "noise.pt")
