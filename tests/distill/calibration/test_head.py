"""The head is fitted to what the teacher hears, label by label."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.special import expit

from distill.calibration import head
from distill.data.clip_list import read_clip_list
from distill.data.labels import audioset_labels
from distill.publish import publish
from distill.runs.checkpoints import load_state
from distill.students.student import Student
from distill.training.draws import HeardClips
from distill.training.trainer import load_student
from edge_audio.errors import UsageError
from tests.distill.workshop import TINY_RECIPE, TINY_STUDENT


def test_the_fit_finds_what_lies_between_student_and_teacher() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2.0 * torch.randn(4_000, 2, generator=generator) - 2.0
    wanted = torch.sigmoid(torch.tensor([1.5, 0.8]) * logits + torch.tensor([2.0, -1.0]))
    gain, offset = head.gains_and_offsets(logits, wanted)
    fitted = torch.sigmoid(gain * logits + offset)
    assert (torch.sigmoid(logits) - wanted).abs().max() > 0.3
    assert (fitted - wanted).abs().max() < 0.03  # what the ridge takes


def test_a_label_that_nothing_is_heard_of_stays_near_what_it_was() -> None:
    logits = torch.full((500, 1), -9.0) + 0.1 * torch.randn(500, 1)
    gain, offset = head.gains_and_offsets(logits, torch.full((500, 1), 1e-4))
    assert abs(float(gain) - 1.0) < 0.1
    assert abs(float(offset)) < 0.5


def test_the_head_gives_the_scaled_logits_of_its_rows_alone() -> None:
    torch.manual_seed(0)
    student = Student(TINY_STUDENT).eval()
    frames = torch.randn(1, 80, 64)
    before = student(frames).logits
    rows, gain, offset = torch.tensor([3, 500]), torch.tensor([2.0, 0.5]), torch.tensor([1.0, -1.0])
    head.scale_head(student.head, rows, gain, offset)
    expected = before.clone()
    expected[..., rows] = gain * before[..., rows] + offset
    torch.testing.assert_close(student(frames).logits, expected, atol=1e-4, rtol=1e-4)


def hear(recipe_clips: int, loud: int) -> HeardClips:
    probabilities = np.full((recipe_clips, 527), 1e-3, np.float32)
    probabilities[:, loud] = 0.7
    return HeardClips(audioset_labels(), probabilities)


def test_a_published_head_says_what_the_teacher_hears(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_clips = len(read_clip_list(in_workshop / "data"))
    monkeypatch.setattr(head, "hear_clips", lambda *_: hear(n_clips, loud=7))
    checkpoint, out = in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt", tmp_path / "fit.pt"
    arguments = [str(checkpoint), str(out), "--runs-dir", str(in_workshop / "runs")]
    done = CliRunner().invoke(head.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    student, recipe = load_student(out)
    assert recipe == msgspec.structs.replace(TINY_RECIPE, head_fitted=True)
    assert "optimizer" not in load_state(out)
    frames = torch.zeros(1, 400, 64)
    before = load_student(checkpoint)[0](frames).logits[0].amax(0).detach().numpy()
    after = student(frames).logits[0].amax(0).detach().numpy()
    assert abs(expit(after[7]) - 0.7) < 0.2 < abs(expit(before[7]) - 0.7)


def test_a_recipe_without_labels_is_refused(
    in_workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "hear_clips", lambda *_: None)
    recipe = msgspec.structs.replace(TINY_RECIPE, name="deaf")
    with pytest.raises(UsageError, match="no teacher of deaf has labels"):
        head.fit_head(Student(TINY_STUDENT).eval(), recipe, in_workshop / "runs" / "cache")


def test_what_is_fitted_is_what_would_be_published(
    in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights that the run went on from blended in, as its recipe says."""
    monkeypatch.setattr(head, "fit_head", lambda *_: None)
    state = load_state(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")
    zeros = {name: torch.zeros_like(value) for name, value in state["student"].items()}
    torch.save({**state, "student": zeros}, tmp_path / "start.pt")
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=str(tmp_path / "start.pt"), blend=0.25)
    trained, out = tmp_path / "trained.pt", tmp_path / "fit.pt"
    torch.save({**state, "recipe": msgspec.json.encode(recipe).decode()}, trained)
    CliRunner().invoke(head.main, [str(trained), str(out)], catch_exceptions=False)
    publish(trained, tmp_path / "published.pt")
    found, expected = load_state(out)["student"], load_state(tmp_path / "published.pt")["student"]
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert not torch.equal(found["head.weight"], state["student"]["head.weight"])
