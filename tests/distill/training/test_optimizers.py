"""Which weights Muon moves, how far, and what the moving average is of."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from distill.data.labels import audioset_labels
from distill.students.student import Student
from distill.training.objective import Objective
from distill.training.optimizers import Muon, averaged, make_optimizers
from distill.training.targets import CachedTargets
from tests.distill.workshop import TINY_RECIPE, TINY_STUDENT

MUON = msgspec.structs.replace(TINY_RECIPE.training, optimizer="muon", learning_rate=0.02)
MATRICES = {
    *("stem.convs.1.layers.3.weight", "stem.convs.2.layers.3.weight"),
    *("stem.convs.3.layers.3.weight", "stem.project.weight"),
    *("blocks.0.mix.weight", "blocks.1.mix.weight", "embed.weight"),
}


@pytest.fixture
def objective(targets: CachedTargets) -> Objective:
    torch.manual_seed(0)
    sample = targets.batch(np.arange(32))
    student = Student(TINY_STUDENT)
    return Objective(student, TINY_RECIPE.loss, targets.teachers, audioset_labels(), sample)


def test_muon_moves_the_matrices_and_adamw_the_rest(objective: Objective) -> None:
    optimizers = make_optimizers(objective, MUON)
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    for parameter in objective.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizers["muon"].param_groups[0]["lr"] = 0.02
    optimizers["muon"].step()
    moved = {n for n, p in objective.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {f"student.{name}" for name in MATRICES}
    groups = optimizers["optimizer"].param_groups
    assert sum(len(group["params"]) for group in groups) == len(before) - len(moved)
    assert [group["factor"] for group in groups] == pytest.approx([0.5, 0.15])
    slow = [n for n in before if n.endswith(("log_decay", "angle"))]
    assert len(groups[1]["params"]) == len(slow) == 4
    assert groups[1]["weight_decay"] == 0.0


def test_muons_update_is_orthogonal_and_as_large_as_adamws(objective: Objective) -> None:
    """Of the gradient's singular values, all become about 1; scaled by 0.2 sqrt(longer side)."""
    weight = objective.student.embed.weight
    pointwise = objective.student.stem.get_parameter("convs.1.layers.3.weight")
    optimizers = make_optimizers(objective, msgspec.structs.replace(MUON, weight_decay=0.0))
    before = [p.detach().clone() for p in (weight, pointwise)]
    for p in (weight, pointwise):
        p.grad = torch.randn_like(p)
    optimizers["muon"].param_groups[0]["lr"] = 0.02
    optimizers["muon"].step()
    for parameter, old in zip((weight, pointwise), before, strict=True):
        update = (parameter.detach() - old).flatten(1)
        values = torch.linalg.svdvals(update) / (0.02 * 0.2 * max(update.shape) ** 0.5)
        assert 0.6 < values.min() <= values.max() < 1.3
        assert parameter.grad is not None
        assert (update * parameter.grad.flatten(1)).sum() < 0, "downhill"


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)], ids=str)
def test_muon_moves_as_pytorchs_does_but_for_its_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [
        Muon([ours], weight_decay=0.1),
        torch.optim.Muon([theirs], weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(5):
        gradient = torch.randn(shape)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 0.02
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - start).detach()
    apart = (ours - theirs).detach()
    assert apart.norm() < 0.02 * moved.norm()
    assert (ours - start).norm() > 0.1


def test_weights_without_gradients_stay() -> None:
    weight = nn.Parameter(torch.ones(3, 2))
    Muon([weight], weight_decay=0.1).step()
    assert (weight == 1.0).all()


def test_adamw_alone_has_all_parameters(objective: Objective) -> None:
    (optimizer,) = make_optimizers(objective, TINY_RECIPE.training).values()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["factor"] for group in optimizer.param_groups] == [1.0, 0.3]
    n_parameters = sum(len(group["params"]) for group in optimizer.param_groups)
    assert n_parameters == len(list(objective.parameters()))


def test_average_follows_weights_and_statistics_and_copies_counts() -> None:
    module = nn.BatchNorm1d(1)
    average = averaged(module, decay=0.5)
    expected = 0.0
    for step in range(20):
        values = {"weight": step, "bias": 0, "running_mean": -step, "running_var": 1}
        state = {name: torch.tensor([float(value)]) for name, value in values.items()}
        module.load_state_dict({**state, "num_batches_tracked": torch.tensor(7 * step)})
        average.update_parameters(module)
        decay = min(0.5, step / (9 + step))  # the first step: its weights as they are
        expected = decay * expected + (1 - decay) * step
    found = average.module.state_dict()
    assert found["weight"].item() == pytest.approx(expected, rel=1e-5)
    assert found["running_mean"].item() == pytest.approx(-expected, rel=1e-5)
    assert found["num_batches_tracked"].item() == 7 * 19
    assert 17.5 < expected < 18.5, "one step behind"
