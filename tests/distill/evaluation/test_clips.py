"""An evaluation is made on unheard clips only, and reports what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from distill.calibration.thresholds import CalibrationConfig
from distill.cli.evaluate import evaluate as command
from distill.data.clip_list import read_clip_list
from distill.data.split import require_unheard
from distill.evaluation.clips import evaluate, label_matrix
from distill.evaluation.figures import draw_clips
from distill.evaluation.held_out import TWINS, held_out_clips
from distill.evaluation.models import open_models
from distill.evaluation.results import ClipResults, write_results
from distill.evaluation.streaming import StreamingResults, evaluate_streaming
from distill.evaluation.tables import describe, describe_streaming, to_streaming_table, to_table
from distill.mixing.soundscapes import SoundscapeConfig
from distill.training.recipe import Recipe
from edge_audio.bundle.store import Bundle, save_bundle
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill.workshop import (
    KINDS,
    TINY_RECIPE,
    TINY_TEACHER,
    row,
    save_rain_detector,
    write_clip_list,
)
from tests.support.paths import REPOSITORY


@pytest.fixture
def checkpoint(in_workshop: Path) -> str:
    return str(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")


@pytest.fixture
def report(checkpoint: str) -> ClipResults:
    return evaluate([checkpoint])


def with_split(**changes: object) -> Recipe:
    split = msgspec.structs.replace(TINY_RECIPE.split, **changes)
    return msgspec.structs.replace(TINY_RECIPE, name="other", split=split)


def save_as(recipe: Recipe, checkpoint: str, path: Path) -> str:
    """The same weights under another recipe."""
    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, "recipe": msgspec.json.encode(recipe).decode()}, path)
    return str(path)


def test_report_counts_the_held_out_clips_and_groups(report: ClipResults) -> None:
    assert (report.n_clips, report.n_groups, report.n_esc_clips) == (36, 18, 30)
    assert (report.n_training_clips, report.n_unlabelled) == (24, 0)
    assert (report.recipe, report.n_labels) == (TINY_RECIPE.name, 527)


def test_every_figure_is_reported_over_its_own_clips(report: ClipResults) -> None:
    (model,) = report.models
    assert {name: hits[0].n for name, hits in model.hits.items()} == {
        "all": 36, "ESC": 30, "other": 6,
    }  # fmt: skip
    assert set(model.average_precision.classes) == set(KINDS.values())
    for results in (model.esc50, model.esc10):
        assert set(results) == {"embedding", "scores"}
        assert all(len(result.folds) == 5 and result.mean.n == 30 for result in results.values())
    assert (model.d_prime.n, model.lwlrap.n) == (3, 36)
    assert set(KINDS.values()) == set(model.precision)
    assert model.agreement is None


def test_embedding_of_even_a_hardly_trained_student_beats_chance(report: ClipResults) -> None:
    assert report.models[0].esc50["embedding"].mean.low > 1 / len(KINDS)


def test_teacher_column_is_scored_on_the_same_clips(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.evaluation import clips as module
    from distill.scoring.clips import TeacherScorer
    from distill.teachers.opening import open_teacher
    from edge_audio.support.folders import peers_dir

    scorer = TeacherScorer(open_teacher(TINY_TEACHER, peers_dir()))
    monkeypatch.setattr(module, "open_peers", lambda recipe, names: [scorer] if names else [])
    report = evaluate([checkpoint], {"teacher"})
    student, peer = report.models
    assert peer.name == "small"
    assert peer.hits["all"][0].n == student.hits["all"][0].n
    assert peer.esc50["scores"].mean.n == 30
    assert student.agreement is not None
    assert (student.agreement.teacher, student.agreement.top1.n) == ("small", 36)
    assert -1.0 < student.agreement.rank_correlation.value < 1.0
    assert peer.agreement is None


def test_target_that_has_heard_a_scored_clip_is_an_error(checkpoint: str, tmp_path: Path) -> None:
    hears_esc = save_as(with_split(hold_out_esc=False), checkpoint, tmp_path / "other.pt")
    with pytest.raises(EdgeAudioError, match=r"other\.pt has heard 24 of 36 clips"):
        evaluate([checkpoint, hears_esc])


def test_esc_is_not_cross_validated_unless_all_its_folds_are_held_out(
    checkpoint: str, tmp_path: Path
) -> None:
    report = evaluate([save_as(with_split(hold_out_esc=False), checkpoint, tmp_path / "other.pt")])
    (model,) = report.models
    assert report.n_esc_clips == 6
    assert not model.esc50
    assert not model.esc10
    assert model.hits["ESC"][0].n == 6


def test_recipe_that_holds_nothing_out_cannot_be_scored(checkpoint: str, tmp_path: Path) -> None:
    recipe = with_split(hold_out_esc=False, held_out_folds=())
    with pytest.raises(UsageError, match="holds no clips out"):
        evaluate([save_as(recipe, checkpoint, tmp_path / "other.pt")])


def test_twin_of_a_training_clip_is_not_scored(tmp_path: Path) -> None:
    first, second = TWINS[0]
    rows = [
        row(f"esc/{first}.ogg", "siren", 3, "g1"),
        row(f"esc/{second}.ogg", "siren", 5, "g2"),
        row("esc/5-1-A.ogg", "rain", 5, "g3"),
        row("a.ogg", "rain", 1, "g4"),
    ]
    write_clip_list(tmp_path, rows)
    clips = read_clip_list(tmp_path)
    partly = held_out_clips(with_split(hold_out_esc=False), clips)
    assert [clip.path for clip in partly] == ["esc/5-1-A.ogg"]
    wholly = held_out_clips(with_split(hold_out_esc=True), clips)
    assert len(wholly) == 3


def test_no_scored_clip_of_the_shipped_recipes_was_ever_heard(clip_list: Path) -> None:
    from distill.training.recipe import read_recipe

    clips = read_clip_list(clip_list)
    for name in ("base", "events", "esc_free"):
        recipe = read_recipe(REPOSITORY / "distill" / "recipes" / f"{name}.toml")
        scored = held_out_clips(recipe, clips)
        require_unheard(recipe.split, clips, scored, who=name, advice="")
        trained = [clip for clip in clips if clip not in scored and clip.tier in "AB"]
        with pytest.raises(EdgeAudioError, match="has heard"):
            require_unheard(recipe.split, clips, [*scored, trained[0]], who=name, advice="")


def test_labels_that_no_model_knows_are_dropped(tmp_path: Path) -> None:
    rows = [
        row("a.wav", "rain", 1, "g", labels="Rain;Mouse click"),
        row("b.wav", "rain", 1, "g", labels="Mouse click"),
    ]
    write_clip_list(tmp_path, rows)
    listed = label_matrix(read_clip_list(tmp_path), ["Siren", "Rain"])
    assert listed.tolist() == [[False, True], [False, False]]


def test_bundle_beside_a_checkpoint_is_scored_with_it_if_asked_for(
    checkpoint: str, float_bundle: Bundle, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.pt").write_bytes(Path(checkpoint).read_bytes())
    save_bundle(run / "exported", float_bundle.manifest, float_bundle.contents())
    assert [model.name for model in open_models(str(run))] == [str(run / "checkpoint.pt")]
    report = evaluate([str(run)], with_bundles=True)
    student, exported = report.models
    assert exported.name == float_bundle.manifest.name
    assert set(exported.esc50) == {"scores"}
    assert exported.hits == student.hits
    assert exported.esc50["scores"] == student.esc50["scores"]


def test_bundle_without_its_recipe_cannot_be_scored(float_bundle: Bundle, tmp_path: Path) -> None:
    manifest = msgspec.structs.replace(float_bundle.manifest, provenance={})
    save_bundle(tmp_path / "orphan", manifest, float_bundle.contents())
    with pytest.raises(EdgeAudioError, match="does not say what it was trained on"):
        open_models(str(tmp_path / "orphan"))


def test_target_that_is_neither_is_refused(in_workshop: Path) -> None:
    with pytest.raises(UsageError, match="no model 'nothing'"):
        open_models("nothing")


@pytest.fixture
def heard_report(in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClipResults:
    """Of the shipped weights, on few and short soundscapes."""
    pytest.importorskip("ai_edge_litert", reason="needs the tflite extra")
    scenes = SoundscapeConfig(
        n_scenes=2, scene_s=12.0, n_events=2, n_negatives=2, negative_s=10.0, n_negative_sounds=2
    )
    config = CalibrationConfig(min_positives=2, n_folds=3, scenes=scenes)

    def small(scorers: Any, folder: Any, clips: Any, scored: Any) -> StreamingResults:
        return evaluate_streaming(scorers, folder, clips, scored, config)

    monkeypatch.setattr("distill.evaluation.clips.evaluate_streaming", small)
    path = str(save_rain_detector(tmp_path).path)
    return evaluate([path], with_soundscapes=True)


def test_soundscapes_are_made_of_held_out_clips(heard_report: ClipResults) -> None:
    streaming = heard_report.streaming
    assert streaming is not None
    assert streaming.labels == ("Rain", "Siren")  # clocks tick too briefly for a bout
    assert streaming.n_sounds == 8  # one fold's
    assert streaming.n_events == streaming.models[0].latency.found.n == 12


def test_written_report_can_be_read_back(
    report: ClipResults, heard_report: ClipResults, tmp_path: Path
) -> None:
    whole = msgspec.structs.replace(report, streaming=heard_report.streaming)
    write_results(whole, tmp_path / "out" / "metrics.json", ["edge-audio", "evaluate"])
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert content.pop("command") == ["edge-audio", "evaluate"]
    assert msgspec.convert(content, ClipResults) == whole


def pictures(folder: Path) -> set[str]:
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    return {path.stem for path in folder.glob("*.png")}


def test_report_has_a_picture_of_everything_it_measured(
    report: ClipResults, heard_report: ClipResults, tmp_path: Path
) -> None:
    always = {"average_precision", "precision_recall", "reliability"}
    draw_clips(report, tmp_path / "all folds")
    assert pictures(tmp_path / "all folds") == {*always, "confusion"}
    draw_clips(heard_report, tmp_path / "heard")
    assert pictures(tmp_path / "heard") == {*always, "latency", "false_alarms"}


def test_streaming_table_shows_every_figure(heard_report: ClipResults) -> None:
    streaming = heard_report.streaming
    assert streaming is not None
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(describe_streaming(streaming), to_streaming_table(streaming))
    text = console.export_text()
    (model,) = streaming.models
    assert "3 x 2 soundscapes of 12 s with 12 events of 2 labels" in text
    for title in ("200 ms collar", "500 ms collar", "PSDS1", "PSDS2", "95th percentile"):
        assert title in text
    for value in (model.psds2, model.latency.found, model.event_f1[1].micro):
        values = np.multiply(100, (value.value, value.low, value.high))
        assert "{:.1f} ({:.1f}-{:.1f})".format(*values) in text
    assert f"{model.false_alarms.each.value:.2f} (" in text
    assert "at quiet: labels on" in text
    assert "at eager: labels on" in text


def test_table_shows_every_figure_with_its_interval(report: ClipResults) -> None:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(describe(report), to_table(report))
    text = console.export_text()
    assert "36 held-out clips in 18 groups" in text
    (model,) = report.models
    for estimate in (
        model.esc50["embedding"].mean,
        model.esc10["scores"].mean,
        *model.hits["other"],
        model.average_precision.mean,
        model.lwlrap,
    ):
        values = np.multiply(100, (estimate.value, estimate.low, estimate.high))
        assert "{:.1f} ({:.1f}-{:.1f})".format(*values) in text


def test_command_prints_the_table_and_writes_the_report(checkpoint: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [checkpoint, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "ESC-50, LR on embedding" in result.output
    assert (tmp_path / "out" / "metrics.json").is_file()
