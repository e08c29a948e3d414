"""A run can be stopped anywhere and ends with the same bits."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile as sf
import torch
from torch import nn

from distill.data.clip_feed import FeedConfig
from distill.data.clip_list import read_clip_list
from distill.data.labels import audioset_labels
from distill.students.student import Student, StudentConfig
from distill.teachers.efficientat import EfficientAT
from distill.training.distill import balance, distill, open_targets, start_student
from distill.training.inputs import HumanLabels, Masks, StrongLabels
from distill.training.objective import Objective
from distill.training.recipe import MaskingConfig, Recipe
from distill.training.targets import CachedTargets
from distill.training.trainer import Trainer, load_student, open_accelerator
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill.workshop import TINY_RECIPE, TINY_TEACHER, write_clip_list


@pytest.fixture
def targets(in_workshop: Path) -> CachedTargets:
    clips = read_clip_list(in_workshop / "data")
    cached = open_targets(TINY_RECIPE, clips, in_workshop / "runs" / "cache", 1)
    assert isinstance(cached, CachedTargets)
    return cached


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
    next_batch = trainer.targets.batch

    def batch(indices: np.ndarray) -> dict[str, np.ndarray]:
        if trainer.step == n_steps:
            raise KeyboardInterrupt
        return next_batch(indices)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.targets, "batch", batch)
        with pytest.raises(KeyboardInterrupt):
            trainer.run()


def make_trainer(folder: Path, targets: CachedTargets, recipe: Recipe = TINY_RECIPE) -> Trainer:
    labels, student = audioset_labels(), start_student(recipe)
    sample = targets.batch(np.arange(32))
    objective = Objective(student, recipe.loss, targets.teachers, labels, sample)
    inputs = [Masks(recipe.masking, student, recipe.seed)] if recipe.masking.share else []
    accelerator, config = open_accelerator(recipe.training), recipe.training
    return Trainer(
        accelerator=accelerator,
        recipe=recipe,
        seed=recipe.seed,
        config=config,
        run_dir=folder,
        objective=objective,
        targets=targets,
        inputs=inputs,
    )


@pytest.mark.parametrize("n_steps", [3, 5])
def test_interrupted_and_resumed_run_ends_with_the_bits_of_a_straight_one(
    targets: CachedTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_steps: int
) -> None:
    straight = make_trainer(tmp_path / "straight", targets).run()
    stop_after(make_trainer(tmp_path / "resumed", targets), n_steps, monkeypatch)
    saved = torch.load(tmp_path / "resumed" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 3
    resumed = make_trainer(tmp_path / "resumed", targets).run()
    assert_same_bits(straight, resumed)


def test_distil_again_makes_the_same_student(in_workshop: Path, tmp_path: Path) -> None:
    again = distill(TINY_RECIPE, tmp_path, n_processes=1)
    assert_same_bits(again, in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")


def test_training_changes_every_weight_and_lowers_the_loss(
    targets: CachedTargets, tmp_path: Path
) -> None:
    training = msgspec.structs.replace(TINY_RECIPE.training, n_steps=24, learning_rate=1e-2)
    recipe = msgspec.structs.replace(TINY_RECIPE, training=training)
    trainer = make_trainer(tmp_path / "run", targets, recipe)
    before = {name: p.clone() for name, p in trainer.module.named_parameters()}
    first = loss_of(trainer)
    trainer.run()
    unmoved = [n for n, p in trainer.module.named_parameters() if torch.equal(p, before[n])]
    assert not unmoved
    assert loss_of(trainer) < 0.8 * first


def loss_of(trainer: Trainer) -> float:
    """All terms, on the first mixtures, as they are in training."""
    batch = trainer.targets.batch(np.arange(32)).items()
    trainer.objective.train()
    with torch.no_grad():
        terms = trainer.objective({k: torch.from_numpy(v.astype(np.float32)) for k, v in batch})
    return float(sum(terms.values()))


def test_other_recipe_in_the_same_folder_is_refused(targets: CachedTargets, tmp_path: Path) -> None:
    make_trainer(tmp_path / "run", targets).run()
    other = msgspec.structs.replace(TINY_RECIPE, seed=4)
    with pytest.raises(EdgeAudioError, match="different recipe"):
        make_trainer(tmp_path / "run", targets, other).run()


@pytest.mark.parametrize("field", ["mels", "small.hidden.1"])
def test_broken_loss_stops_the_run_and_keeps_the_last_checkpoint(
    targets: CachedTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    stop_after(make_trainer(tmp_path / "run", targets), 4, monkeypatch)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    before = checkpoint.read_bytes()
    trainer = make_trainer(tmp_path / "run", targets)
    poisoned = {**targets.arrays, field: np.full_like(targets.arrays[field], np.nan)}
    trainer.targets = CachedTargets(targets.teachers, poisoned)
    with pytest.raises(EdgeAudioError, match=r"loss is nan at step 3.*learning_rate"):
        trainer.run()
    assert checkpoint.read_bytes() == before


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
    shards = {path: path.read_bytes() for path in tmp_path.glob("cache/targets-*/shard-*.npz")}
    second = sorted(shards)[1]
    second.unlink()
    open_targets(recipe, clips, tmp_path / "cache", 1)
    assert second.read_bytes() == shards[second], "a lost shard is made again without the first"


def test_an_unsound_manifest_is_refused_before_anything_is_trained(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(csv.DictReader((in_workshop / "data" / "manifest.csv").open()))
    write_clip_list(tmp_path / "data", [{**rows[0], "labels": "Clocks"}, *rows[1:]])
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "data"))
    with pytest.raises(UsageError, match=r"files are missing.*'Clocks'.*did you mean 'Clock'"):
        distill(TINY_RECIPE, tmp_path / "runs", n_processes=1)
    assert not (tmp_path / "runs").exists()


def test_masked_run_resumes_to_the_same_bits(
    targets: CachedTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(TINY_RECIPE, masking=MaskingConfig(share=0.7))
    straight = make_trainer(tmp_path / "straight", targets, recipe).run()
    stop_after(make_trainer(tmp_path / "resumed", targets, recipe), 5, monkeypatch)
    assert_same_bits(straight, make_trainer(tmp_path / "resumed", targets, recipe).run())
    unmasked = make_trainer(tmp_path / "unmasked", targets).run()
    weights = [torch.load(path, weights_only=True)["student"] for path in (straight, unmasked)]
    assert not torch.equal(weights[0]["embed.weight"], weights[1]["embed.weight"])


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


def test_start_from_takes_over_the_weights_and_refuses_other_shapes(in_workshop: Path) -> None:
    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=str(checkpoint))
    trained = load_student(checkpoint)[0].state_dict()
    for name, value in start_student(recipe).state_dict().items():
        assert torch.equal(value, trained[name])
    wider = msgspec.structs.replace(TINY_RECIPE.student, channels=20)
    with pytest.raises(UsageError, match="another shape"):
        start_student(msgspec.structs.replace(recipe, student=wider))


def test_start_from_a_student_that_heard_the_held_out_clips_is_refused(
    in_workshop: Path, tmp_path: Path
) -> None:
    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    split = msgspec.structs.replace(TINY_RECIPE.split, held_out_folds=(4, 5))
    recipe = msgspec.structs.replace(TINY_RECIPE, split=split, start_from=str(checkpoint))
    with pytest.raises(UsageError, match=r"has heard 6 of \d+ clips that miniature holds out"):
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


WITHOUT_BATCH_NORM = """
import sys, msgspec, torch
from pathlib import Path
from torch import nn
from distill.training.recipe import Recipe
from distill.training.distill import distill

def remove_batch_norm(module):
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        remove_batch_norm(child)

torch.set_num_threads(1)
folder = Path(sys.argv[1])
recipe = msgspec.json.decode((folder / "recipe.json").read_bytes(), type=Recipe)
distill(recipe, folder, n_processes=1, prepare=remove_batch_norm)
"""


def test_two_processes_train_the_same_student_as_one(in_workshop: Path, tmp_path: Path) -> None:
    """`torchrun` with two CPU processes, each with half of every batch, against a single one.
    Batch norm, which would see the halves, is left out, so that the mean gradient is exact."""
    (tmp_path / "job.py").write_text(WITHOUT_BATCH_NORM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    weights = []
    for name, command in (("alone", [sys.executable]), ("together", launch)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.json").write_bytes(msgspec.json.encode(TINY_RECIPE))
        (folder / "cache").symlink_to(in_workshop / "runs" / "cache")
        job = [*command, str(tmp_path / "job.py"), str(folder)]
        done = subprocess.run(job, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        checkpoint = folder / TINY_RECIPE.name / "checkpoint.pt"
        weights.append(torch.load(checkpoint, weights_only=True)["student"])
    alone, together = weights
    start = start_student(TINY_RECIPE).state_dict()
    for name, value in alone.items():
        moved = (value - start[name]).abs().max()
        assert (together[name] - value).abs().max() <= 0.02 * moved, name


def test_balance_favours_rare_labels(in_workshop: Path) -> None:
    clips = read_clip_list(in_workshop / "data")
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
    with pytest.raises(EdgeAudioError, match="train it first"):
        load_student(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(EdgeAudioError, match="not a checkpoint"):
        load_student(tmp_path / "other.pt")
    (tmp_path / "noise.pt").write_bytes(b"\x00" * 100)
    with pytest.raises(EdgeAudioError, match="not a whole checkpoint"):
        load_student(tmp_path / "noise.pt")
