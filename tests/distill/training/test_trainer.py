"""A run can be stopped anywhere and ends with the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from distill.data.labels import audioset_labels
from distill.training.distill import distill, start_student
from distill.training.inputs import FirstToken, Input, Masks
from distill.training.objective import Objective
from distill.training.recipe import MaskingConfig, Recipe
from distill.training.targets import CachedTargets, TargetArrays
from distill.training.trainer import Trainer, load_student, open_accelerator
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill.workshop import TINY_RECIPE


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
    forward = trainer.objective.forward

    def interrupted(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if trainer.step == n_steps:
            raise KeyboardInterrupt
        terms: dict[str, torch.Tensor] = forward(batch)
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(trainer.objective, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.run()


def make_trainer(folder: Path, targets: CachedTargets, recipe: Recipe = TINY_RECIPE) -> Trainer:
    labels, student = audioset_labels(), start_student(recipe)
    sample = targets.batch(np.arange(32))
    objective = Objective(student, recipe.loss, targets.teachers, labels, sample)
    inputs: list[Input] = []
    if recipe.masking.share:
        inputs.append(Masks(recipe.masking, student, recipe.seed))
    if recipe.loss.token_stride > 1:
        inputs.append(FirstToken(recipe.loss.token_stride, recipe.seed))
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


def test_bf16_without_a_gpu_is_wrong_usage_and_says_what_works() -> None:
    config = msgspec.structs.replace(TINY_RECIPE.training, precision="bf16")
    if torch.cuda.is_available():
        assert open_accelerator(config).mixed_precision == "bf16"
        return
    with pytest.raises(UsageError, match=r"bf16, which needs a GPU.* --set training.precision=no"):
        open_accelerator(config)


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


MUON = msgspec.structs.replace(
    TINY_RECIPE.training,
    optimizer="muon",
    average_decay=0.6,
    max_gradient_norm=0.0,
    schedule="constant-decay",
)
AVERAGED = msgspec.structs.replace(TINY_RECIPE, training=MUON)


@pytest.mark.parametrize("n_steps", [3, 5])
def test_resumed_run_with_muon_and_averages_ends_with_the_bits_of_a_straight_one(
    targets: CachedTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_steps: int
) -> None:
    straight = make_trainer(tmp_path / "straight", targets, AVERAGED).run()
    stop_after(make_trainer(tmp_path / "resumed", targets, AVERAGED), n_steps, monkeypatch)
    resumed = make_trainer(tmp_path / "resumed", targets, AVERAGED).run()
    assert_same_bits(straight, resumed)


def test_the_trained_student_is_the_average(targets: CachedTargets, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run", targets, AVERAGED)
    path = trainer.run()
    state = torch.load(path, weights_only=True)
    student = load_student(path)[0].state_dict()
    assert_same_weights(student, trainer.module.student.state_dict())
    raw = {n.removeprefix("student."): v for n, v in state["raw"].items()}
    assert not torch.equal(student["embed.weight"], raw["embed.weight"])
    plain = msgspec.structs.replace(AVERAGED.training, average_decay=0.0)
    other = msgspec.structs.replace(AVERAGED, training=plain)
    last = load_student(make_trainer(tmp_path / "last", targets, other).run())[0].state_dict()
    assert_same_weights(last, {name: raw[name] for name in last})


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_gradients_are_clipped_unless_the_norm_is_0(targets: CachedTargets, tmp_path: Path) -> None:
    norms = []
    for largest in (1e-3, 0.0):
        training = msgspec.structs.replace(TINY_RECIPE.training, max_gradient_norm=largest)
        recipe = msgspec.structs.replace(TINY_RECIPE, training=training)
        trainer = make_trainer(tmp_path / str(largest), targets, recipe)
        trainer.run()
        gradients = [p.grad for p in trainer.module.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
    assert norms[0] == pytest.approx(1e-3, rel=0.01)
    assert norms[1] > 1.0


def with_training(**changes: Any) -> Recipe:
    training = msgspec.structs.replace(AVERAGED.training, **changes)
    return msgspec.structs.replace(AVERAGED, training=training)


def test_a_copy_of_a_constant_run_is_cooled_to_the_bits_of_a_shorter_one(
    targets: CachedTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the decay, a run does not depend on how long it will be."""
    long, short = with_training(n_steps=40), with_training(n_steps=6, decay_share=0.5)
    cooled = msgspec.structs.replace(short, name="cooled")
    stop_after(make_trainer(tmp_path / "cooled", targets, long), 5, monkeypatch)
    assert_same_weights(
        load_student(make_trainer(tmp_path / "cooled", targets, cooled).run())[0].state_dict(),
        load_student(make_trainer(tmp_path / "short", targets, short).run())[0].state_dict(),
    )


def test_a_constant_run_goes_on_when_it_is_made_longer_but_not_shorter_than_it_is(
    targets: CachedTargets, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    make_trainer(run, targets, with_training(n_steps=4)).run()
    longer = with_training(n_steps=7, checkpoint_every_steps=2)
    saved = torch.load(make_trainer(run, targets, longer).run(), weights_only=True)
    assert saved["step"] == 7
    with pytest.raises(UsageError, match="step 7 already"):
        make_trainer(run, targets, with_training(n_steps=5)).run()
    with pytest.raises(EdgeAudioError, match="different recipe"):
        make_trainer(run, targets, with_training(n_steps=9, learning_rate=0.1)).run()


def test_a_cosine_run_is_not_made_longer(targets: CachedTargets, tmp_path: Path) -> None:
    make_trainer(tmp_path / "run", targets, with_training(schedule="cosine")).run()
    longer = with_training(schedule="cosine", n_steps=7)
    with pytest.raises(EdgeAudioError, match="different recipe"):
        make_trainer(tmp_path / "run", targets, longer).run()


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
    arrays = targets.batch(np.arange(len(targets)))
    arrays[field] = np.full_like(arrays[field], np.nan)
    trainer.targets = TargetArrays(targets.teachers, arrays)
    with pytest.raises(EdgeAudioError, match=r"loss is nan at step 3.*learning_rate"):
        trainer.run()
    assert checkpoint.read_bytes() == before


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


def test_run_on_drawn_tokens_resumes_to_the_same_bits(
    targets: CachedTargets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = msgspec.structs.replace(TINY_RECIPE.loss, token_stride=2)
    recipe = msgspec.structs.replace(TINY_RECIPE, loss=loss)
    straight = make_trainer(tmp_path / "straight", targets, recipe).run()
    stop_after(make_trainer(tmp_path / "resumed", targets, recipe), 5, monkeypatch)
    assert_same_bits(straight, make_trainer(tmp_path / "resumed", targets, recipe).run())


WITHOUT_BATCH_NORM = """
import os, sys, msgspec, torch
from pathlib import Path
from torch import nn
from distill.training.recipe import Recipe
from distill.training.distill import distill
from distill.training.trainer import Trainer

def remove_batch_norm(module):
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        remove_batch_norm(child)

def save_and_die(trainer, save=Trainer._save):
    save(trainer)
    os._exit(9)

torch.set_num_threads(1)
folder = Path(sys.argv[1])
if sys.argv[2:] == ["die"]:
    Trainer._save = save_and_die
recipe = msgspec.json.decode((folder / "recipe.json").read_bytes(), type=Recipe)
distill(recipe, folder, n_processes=1, prepare=remove_batch_norm)
"""


def test_two_processes_train_the_same_student_as_one(in_workshop: Path, tmp_path: Path) -> None:
    """`torchrun` with two CPU processes, each with half of every batch, against a single one; both
    are killed behind their first checkpoint, and go on. Batch norm, which would see the halves, is
    left out, so that the mean gradient is exact."""
    (tmp_path / "job.py").write_text(WITHOUT_BATCH_NORM)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    weights = []
    for name, command in (("alone", [sys.executable]), ("together", launch)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recipe.json").write_bytes(msgspec.json.encode(TINY_RECIPE))
        (folder / "cache").symlink_to(in_workshop / "runs" / "cache")
        job = [*command, str(tmp_path / "job.py"), str(folder)]
        checkpoint = folder / TINY_RECIPE.name / "checkpoint.pt"
        died = subprocess.run([*job, "die"], capture_output=True, text=True, check=False)
        assert died.returncode != 0
        assert torch.load(checkpoint, weights_only=True)["step"] == 3
        done = subprocess.run(job, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        weights.append(torch.load(checkpoint, weights_only=True)["student"])
    alone, together = weights
    start = start_student(TINY_RECIPE).state_dict()
    for name, value in alone.items():
        moved = (value - start[name]).abs().max()
        assert (together[name] - value).abs().max() <= 0.02 * moved, name


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
