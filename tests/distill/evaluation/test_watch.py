"""A student is watched on strange places while it trains, and learns nothing from it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from distill.data.audio import read_clip
from distill.evaluation.strange import evaluate_strange
from distill.evaluation.strange_results import BUT_ESC
from distill.evaluation.watch import StrangeWatch
from distill.runs.metrics_log import read_metrics
from distill.scoring.clips import StudentScorer
from distill.students.student import Student
from distill.training.distill import distill
from distill.training.recipe import Recipe
from distill.training.trainer import load_student
from edge_audio.errors import UsageError
from tests.distill.workshop import TINY_RECIPE, TINY_STUDENT
from tests.support.student_zoo import enliven


def watched(every_steps: int = 2, **split: bool) -> Recipe:
    training = msgspec.structs.replace(
        TINY_RECIPE.training, watch_every_steps=every_steps, average_decay=0.5
    )
    changed = msgspec.structs.replace(TINY_RECIPE.split, **{"hold_out_strange": True, **split})
    return msgspec.structs.replace(TINY_RECIPE, training=training, split=changed)


def test_curves_end_with_the_figures_of_evaluate_strange(in_strange_workshop: Path) -> None:
    runs = in_strange_workshop / "runs"
    checkpoint = distill(watched(), runs, 1, open_watch=StrangeWatch)
    rows = read_metrics(checkpoint.parent / "watch.csv")
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert (checkpoint.parent / "watch.png").read_bytes().startswith(b"\x89PNG")
    (model,) = evaluate_strange([str(checkpoint)]).models
    for title in ("ESC", BUT_ESC):
        figures = model.figures[title]
        found = [rows[-1][f"{title} {name}"] for name in ("hit@1", "hit@5")]
        assert found == pytest.approx([hit.value for hit in figures.hits], abs=0.05)
        precision = figures.average_precision  # of the ESC clips alone: the others are too few
        assert (f"{title} mAP" in rows[-1]) == (precision is not None) == (title == "ESC")
        if precision is not None:
            assert rows[-1]["ESC mAP"] == pytest.approx(precision.mean.value, abs=0.02)


def test_watching_changes_no_bit_of_what_is_learned(in_strange_workshop: Path) -> None:
    runs = in_strange_workshop / "runs"
    seen = load_student(distill(watched(3), runs, 1, open_watch=StrangeWatch))[0].state_dict()
    alone = in_strange_workshop / "alone"
    alone.mkdir()
    (alone / "cache").symlink_to(runs / "cache")
    unseen = load_student(distill(watched(0), alone, 1, open_watch=StrangeWatch))[0].state_dict()
    assert not list(alone.glob("*/watch.*"))
    assert all(torch.equal(value, unseen[name]) for name, value in seen.items())
    distill(watched(1), alone, 1)  # the same run, were it not for the watch


def test_clips_in_a_padded_batch_get_the_scores_that_each_gets_alone(
    in_strange_workshop: Path,
) -> None:
    watch = StrangeWatch(watched())
    assert len(watch.clips) == 42
    torch.manual_seed(0)
    student = enliven(Student(TINY_STUDENT))
    scorer = StudentScorer("alone", student)
    for clip, scores in zip(watch.clips, watch.scores(student), strict=True):
        samples = read_clip(in_strange_workshop / "data" / clip.path, 16_000)
        np.testing.assert_allclose(scores, scorer.score(samples).scores, rtol=0.02, atol=1e-3)


def test_a_recipe_that_hears_all_strange_places_cannot_be_watched(
    in_strange_workshop: Path,
) -> None:
    hearing = {"hold_out_strange": False, "hold_out_esc": False, "held_out_folds": ()}
    with pytest.raises(UsageError, match="hold_out_strange = true"):
        StrangeWatch(watched(**hearing))  # type: ignore[arg-type]
