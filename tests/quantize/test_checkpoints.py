"""The published checkpoints are what the shipped bundles were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.publish import publish
from distill.runs.checkpoints import load_state
from distill.training.trainer import load_student
from edge_audio.bundle.golden import load_golden
from edge_audio.bundle.store import load_bundle, shipped_bundles
from quantize.graph.parity import eager_outputs, input_rows
from quantize.graph.prepare import prepare
from quantize.schemes import SCHEMES
from tests.support.paths import REPOSITORY

CHECKPOINTS = REPOSITORY / "distill" / "checkpoints"


def test_a_published_checkpoint_is_the_same_student_without_the_optimiser(tmp_path: Path) -> None:
    published = CHECKPOINTS / "micro-long.pt"  # of whose start nothing is blended in
    state = load_state(published)
    torch.save({**state, "optimizer": {}, "heads": {}}, tmp_path / "checkpoint.pt")
    publish(tmp_path / "checkpoint.pt", tmp_path / "again.pt")
    again = load_state(tmp_path / "again.pt")
    assert again.keys() == state.keys() == {"recipe", "step", "student"}
    assert again["recipe"] == state["recipe"]
    assert all(
        torch.equal(again["student"][name], state["student"][name]) for name in state["student"]
    )


@pytest.mark.parametrize("name", [name for name in shipped_bundles() if name.endswith("-int8")])
def test_shipped_int8_bundles_come_from_the_published_checkpoints(name: str) -> None:
    student, recipe = load_student(CHECKPOINTS / f"{name.removesuffix('-int8')}.pt")
    assert not recipe.split.hold_out_esc
    graph = prepare(student, SCHEMES["weight-only"])
    golden = load_golden(load_bundle(name))
    samples = golden.samples.astype(np.float32) / np.float32(32768.0)
    scores = eager_outputs(graph, input_rows(graph.spec, samples)).scores
    np.testing.assert_allclose(scores, golden.scores, atol=1e-4)


@pytest.mark.parametrize("path", sorted(CHECKPOINTS.glob("*.pt")), ids=lambda path: path.stem)
def test_published_students_have_heard_no_strange_place(path: Path) -> None:
    recipe = load_student(path)[1]
    assert recipe.split.hold_out_strange
    assert set(recipe.split.tiers) <= {"A", "B"}
