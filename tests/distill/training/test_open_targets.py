"""Targets of the clips of the split: from a cache of the same files, or made on the fly."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile as sf
import torch

from distill.data.clip_feed import FeedConfig
from distill.data.clip_list import read_clip_list
from distill.teachers.efficientat import EfficientAT
from distill.training.distill import distill, open_targets, teaching_device
from distill.training.recipe import Recipe
from distill.training.targets import CachedTargets
from distill.training.trainer import load_student
from tests.distill.workshop import TINY_RECIPE, TINY_TEACHER


def test_only_clips_of_the_split_are_trained_on(in_workshop: Path) -> None:
    clips = read_clip_list(in_workshop / "data")
    chosen = [clips[index] for index in TINY_RECIPE.split.training_positions(clips)]
    assert len(chosen) == 24
    assert all(clip.fold != 5 and not clip.is_esc for clip in chosen)


def test_cache_of_another_split_lies_elsewhere(in_workshop: Path, tmp_path: Path) -> None:
    clips = read_clip_list(in_workshop / "data")
    split = msgspec.structs.replace(TINY_RECIPE.split, held_out_folds=(4,))
    for recipe in (TINY_RECIPE, msgspec.structs.replace(TINY_RECIPE, split=split)):
        open_targets(recipe, clips, tmp_path, 1)
    assert len(list(tmp_path.glob("targets-*"))) == 2


def test_a_row_that_does_not_train_leaves_the_others_their_labels(
    in_workshop: Path, tmp_path: Path
) -> None:
    clips = read_clip_list(in_workshop / "data")
    training = set(TINY_RECIPE.split.training_positions(clips))
    held_out = [i for i in range(len(clips)) if i not in training]
    moved = [clips[held_out[-1]], *clips[: held_out[-1]], *clips[held_out[-1] + 1 :]]
    heard = []
    for rows in (clips, moved):
        sources = open_targets(TINY_RECIPE, rows, tmp_path, 1).batch(np.arange(64))["sources"]
        heard.append([[rows[i].path for i in row if i >= 0] for row in sources])
    assert moved != clips
    assert heard[0] == heard[1]


@pytest.mark.parametrize("changed", ["clip", "teacher"])
def test_cache_of_files_that_have_changed_is_made_anew(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    for name in ("data", "peers"):
        shutil.copytree(in_workshop / name, tmp_path / name)
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EDGE_AUDIO_PEERS", str(tmp_path / "peers"))
    clips = read_clip_list(tmp_path / "data")
    before = open_targets(TINY_RECIPE, clips, tmp_path / "cache", 1).batch(np.arange(64))
    if changed == "clip":
        for clip in clips:
            sf.write(tmp_path / "data" / clip.path, np.full(8_000, 0.1), 16_000)
    else:
        torch.manual_seed(1)
        state = EfficientAT(TINY_TEACHER.width).state_dict()
        torch.save(state, tmp_path / "peers" / TINY_TEACHER.checkpoint)
    after = open_targets(TINY_RECIPE, clips, tmp_path / "cache", 1).batch(np.arange(64))
    same_audio = np.array_equal(before["mels"], after["mels"])
    same_answers = np.array_equal(before["small.clip_logits"], after["small.clip_logits"])
    assert (same_audio, same_answers) == ((False, True) if changed == "clip" else (True, False))


def test_number_of_mixtures_is_the_same_with_and_without_a_cache(
    in_workshop: Path, tmp_path: Path
) -> None:
    clips = read_clip_list(in_workshop / "data")
    training = msgspec.structs.replace(TINY_RECIPE.training, n_mixtures=70)
    recipe = msgspec.structs.replace(TINY_RECIPE, training=training)
    for one in (recipe, on_the_fly(recipe)):
        assert len(open_targets(one, clips, in_workshop / "runs" / "cache", 1)) == 70


def on_the_fly(recipe: Recipe) -> Recipe:
    training = msgspec.structs.replace(recipe.training, cache=False)
    return msgspec.structs.replace(recipe, training=training)


def test_targets_on_the_fly_are_those_of_the_cache(
    in_workshop: Path, targets: CachedTargets
) -> None:
    clips = read_clip_list(in_workshop / "data")
    made = open_targets(on_the_fly(TINY_RECIPE), clips, in_workshop / "runs" / "cache", 1)
    indices = np.array([3, 60, 17, 4, 5, 6, 7, 8, 9])
    cached, fresh = targets.batch(indices), made.batch(indices)
    assert cached.keys() == fresh.keys()
    for field, values in cached.items():
        assert fresh[field].dtype == values.dtype
        np.testing.assert_allclose(fresh[field], values, rtol=2e-3, atol=2e-3)


def test_a_run_on_the_fly_needs_no_target_cache(in_workshop: Path, tmp_path: Path) -> None:
    checkpoint = distill(on_the_fly(TINY_RECIPE), tmp_path, n_processes=1)
    assert not list(tmp_path.glob("cache/targets-*"))
    trained = load_student(checkpoint)[0].state_dict()
    cached = load_student(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")[0].state_dict()
    for name, value in cached.items():
        torch.testing.assert_close(trained[name], value, rtol=0.05, atol=0.02)


def test_streamed_mixtures_come_from_a_pool_per_shard_and_train_a_student(
    in_workshop: Path, tmp_path: Path
) -> None:
    stream = FeedConfig(pool_size=6, n_interleaved=2)
    recipe = msgspec.structs.replace(TINY_RECIPE, stream=stream)
    recipe = msgspec.structs.replace(
        recipe, training=msgspec.structs.replace(recipe.training, n_mixtures=128)
    )
    checkpoint = distill(recipe, tmp_path, n_processes=1)
    assert load_student(checkpoint)[1].stream == stream
    clips = read_clip_list(in_workshop / "data")
    targets = open_targets(recipe, clips, tmp_path / "cache", 1)
    allowed = set(recipe.split.training_positions(clips))
    sources = targets.batch(np.arange(128))["sources"]
    heard = [set(part[part >= 0].tolist()) for part in (sources[:64], sources[64:])]
    assert all(len(pool) <= 6 and pool <= allowed for pool in heard)
    assert heard[0] != heard[1]
    shards = {path: path.read_bytes() for path in tmp_path.glob("cache/targets-*/shard-*.npy")}
    second = sorted(shards)[1]
    second.unlink()
    open_targets(recipe, clips, tmp_path / "cache", 1)
    assert second.read_bytes() == shards[second], "a lost shard is made again without the first"


def test_teachers_compute_on_the_gpu_of_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number: threads that make targets ahead of time have the first one by default."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert teaching_device() == "cuda:3"
