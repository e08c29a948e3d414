"""What is published of a run: weights and recipe, with some of where it started blended in."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from distill.publish import publish
from distill.runs.checkpoints import load_state
from distill.training.trainer import load_student
from tests.distill.workshop import TINY_RECIPE


def test_weights_go_back_towards_the_start_once(in_workshop: Path, tmp_path: Path) -> None:
    checkpoint = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt"
    state = load_state(checkpoint)
    start, other = tmp_path / "start.pt", tmp_path / "trained.pt"
    zeros = {name: torch.zeros_like(value) for name, value in state["student"].items()}
    torch.save({**state, "student": zeros}, start)
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=str(start), blend=0.25)
    torch.save({**state, "recipe": msgspec.json.encode(recipe).decode()}, other)

    publish(other, tmp_path / "published.pt")
    student, kept = load_student(tmp_path / "published.pt")
    assert kept == recipe
    publish(tmp_path / "published.pt", tmp_path / "again.pt")
    again = load_student(tmp_path / "again.pt")[0].state_dict()
    for name, value in student.state_dict().items():
        trained = state["student"][name]
        expected = 0.75 * trained if trained.is_floating_point() else trained
        torch.testing.assert_close(value, expected)
        assert torch.equal(again[name], value), "what is published already is not blended again"
