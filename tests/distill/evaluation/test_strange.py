"""Strange places are scored by models that never heard them, and by no others."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from distill.cli.evaluate import evaluate as command
from distill.data.clip_list import Clip, read_clip_list
from distill.evaluation.clips import label_matrix
from distill.evaluation.figures import draw_strange
from distill.evaluation.lineage import lineage_of
from distill.evaluation.metrics import hit_at, hit_at_of_groups
from distill.evaluation.strange import evaluate_strange
from distill.evaluation.strange_events import evaluate_strange_events, report_left_out
from distill.evaluation.strange_results import BUT_ESC, StrangeResults
from distill.evaluation.strange_tables import describe, to_table
from distill.mixing import soundscapes
from distill.pretraining.recipe import PretrainRecipe
from distill.pretraining.recipe import TrainingConfig as PretrainingConfig
from distill.scoring.streams import ScoreTrack
from distill.teachers.config import SelfSupervisedConfig
from distill.training.recipe import Recipe
from edge_audio.bundle.store import Bundle
from edge_audio.errors import EdgeAudioError, UsageError
from tests.distill.workshop import STRANGE_SOURCES, TINY_RECIPE, write_clip_list

KITCHEN, DOGS = STRANGE_SOURCES["5"], STRANGE_SOURCES["4"]


@pytest.fixture
def checkpoint(in_workshop: Path, in_strange_workshop: Path) -> str:
    """The workshop's student."""
    return str(in_workshop / "runs" / TINY_RECIPE.name / "checkpoint.pt")


def changed(recipe: Recipe = TINY_RECIPE, **changes: object) -> Recipe:
    """A recipe with another split."""
    return msgspec.structs.replace(recipe, split=msgspec.structs.replace(recipe.split, **changes))


def save_as(recipe: Recipe, checkpoint: str, path: Path) -> str:
    """The same weights under another recipe."""
    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, "recipe": msgspec.json.encode(recipe).decode()}, path)
    return str(path)


@pytest.fixture
def unheard(checkpoint: str, tmp_path: Path) -> str:
    """A student that never heard a strange source."""
    recipe = changed(hold_out_esc=False, hold_out_strange=True)
    return save_as(recipe, checkpoint, tmp_path / "unheard.pt")


def text_of(results: StrangeResults) -> str:
    console = Console(width=170, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(describe(results), to_table(results))
    return console.export_text()


def test_every_source_is_scored_by_a_model_that_holds_all_of_them_out(unheard: str) -> None:
    results = evaluate_strange([unheard])
    assert {name: (one.n_clips, one.n_groups) for name, one in results.sets.items()} == {
        "ESC": (30, 15), KITCHEN: (6, 3), DOGS: (6, 3), BUT_ESC: (12, 6),
    }  # fmt: skip
    (model,) = results.models
    assert (model.heard, model.untraced) == ((), ())
    assert set(model.figures) == set(results.sets)
    assert {name: one.hits[1].n for name, one in model.figures.items()} == {
        "ESC": 30, KITCHEN: 6, DOGS: 6, BUT_ESC: 12,
    }  # fmt: skip
    esc = model.figures["ESC"].average_precision
    assert esc is not None
    assert esc.mean.n == 3  # ten clips of each kind
    assert model.figures[KITCHEN].average_precision is None  # two of each


def test_what_a_model_has_heard_is_left_out_for_it_alone(checkpoint: str, unheard: str) -> None:
    results = evaluate_strange([checkpoint, unheard])
    first, second = results.models
    assert first.heard == (DOGS,)
    assert set(first.figures) == {"ESC", KITCHEN}
    assert second.figures == evaluate_strange([unheard]).models[0].figures
    assert first.figures["ESC"] == second.figures["ESC"]  # the weights are the same
    assert text_of(results).count(" heard ") == 6  # three rows of the dogs, three of all but ESC


def test_places_that_every_model_has_heard_take_one_row(checkpoint: str) -> None:
    assert text_of(evaluate_strange([checkpoint])).count(" heard ") == 2  # the dogs, all but ESC


def test_model_that_has_heard_every_source_is_refused(checkpoint: str, tmp_path: Path) -> None:
    recipe = changed(hold_out_esc=False, held_out_folds=())
    heard = save_as(recipe, checkpoint, tmp_path / "heard.pt")
    with pytest.raises(EdgeAudioError, match=r"heard\.pt has heard 42 of 42 .*hold_out_strange"):
        evaluate_strange([heard])


def test_what_an_ancestor_has_heard_its_student_has_heard(
    checkpoint: str, unheard: str, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(changed(hold_out_strange=True), start_from=checkpoint)
    middle = save_as(recipe, checkpoint, tmp_path / "middle.pt")
    last = save_as(
        msgspec.structs.replace(recipe, start_from=middle), checkpoint, tmp_path / "x.pt"
    )
    (model,) = evaluate_strange([last]).models
    assert (model.heard, model.untraced) == ((DOGS,), ())
    kept = msgspec.structs.replace(recipe, start_from=unheard)
    (model,) = evaluate_strange([save_as(kept, checkpoint, tmp_path / "kept.pt")]).models
    assert model.heard == ()


def test_student_of_an_encoder_has_heard_what_the_encoder_has(
    checkpoint: str, tmp_path: Path
) -> None:
    encoder = PretrainRecipe(
        name="encoder", seed=0, split=TINY_RECIPE.split, training=PretrainingConfig(n_steps=1)
    )
    torch.save({"recipe": msgspec.json.encode(encoder).decode()}, tmp_path / "encoder.pt")
    teacher = SelfSupervisedConfig(checkpoint=str(tmp_path / "encoder.pt"), layers=(1,))
    recipe = msgspec.structs.replace(changed(hold_out_strange=True), teachers=(teacher,))
    (model,) = evaluate_strange([save_as(recipe, checkpoint, tmp_path / "taught.pt")]).models
    assert model.heard == (DOGS,)


def test_ancestors_that_are_not_here_are_named(unheard: str, tmp_path: Path) -> None:
    recipe = changed(hold_out_strange=True)
    orphan = msgspec.structs.replace(recipe, start_from=str(tmp_path / "gone.pt"))
    results = evaluate_strange([save_as(orphan, unheard, tmp_path / "orphan.pt")])
    assert results.models[0].untraced == (str(tmp_path / "gone.pt"),)
    assert "gone.pt: not here" in text_of(results).replace("\n", " ")


def test_lineage_that_goes_round_in_circles_ends(checkpoint: str, tmp_path: Path) -> None:
    path = str(tmp_path / "round.pt")
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=path)
    save_as(recipe, checkpoint, Path(path))
    assert set(lineage_of("first", recipe).splits) == {"first", path}


def test_ancestor_that_is_no_student_is_an_error(checkpoint: str, tmp_path: Path) -> None:
    torch.save({"recipe": "{}"}, tmp_path / "other.pt")
    recipe = msgspec.structs.replace(TINY_RECIPE, start_from=str(tmp_path / "other.pt"))
    with pytest.raises(EdgeAudioError, match=r"other\.pt does not say what it was trained on"):
        evaluate_strange([save_as(recipe, checkpoint, tmp_path / "x.pt")])


def test_clip_list_without_strange_sources_is_refused(
    checkpoint: str, in_workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"path": "a.wav", "tier": "A", "labels": "Rain", "fold": 1, "group": "g"}]
    write_clip_list(tmp_path / "none", [{"duration_s": 1.0, **row} for row in rows])
    monkeypatch.setenv("EDGE_AUDIO_DATA", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no clips of strange sources: they are ESC, marc"):
        evaluate_strange([checkpoint])


def test_clips_without_a_shared_label_are_not_scored(unheard: str, tmp_path: Path) -> None:
    path = tmp_path / "data" / "manifest.csv"
    lines = path.read_text().splitlines()
    changed = [line.replace("Rain", "Nothing known") if KITCHEN in line else line for line in lines]
    path.write_text("\n".join(changed) + "\n")
    assert evaluate_strange([unheard]).sets[KITCHEN].n_clips == 4


def test_bundle_streams_over_strange_clips(float_bundle: Bundle, checkpoint: str) -> None:
    bundle, student = evaluate_strange([str(float_bundle.path), checkpoint]).models
    assert bundle.name == float_bundle.manifest.name
    assert set(bundle.figures) == set(student.figures) == {"ESC", KITCHEN}
    for name, figures in bundle.figures.items():
        assert figures.hits == student.figures[name].hits
        assert figures.lwlrap.value == pytest.approx(student.figures[name].lwlrap.value, rel=1e-3)


def test_hits_are_those_of_the_clip_evaluation_with_intervals_over_recordings(
    unheard: str, tmp_path: Path
) -> None:
    clips = [clip for clip in read_clip_list(tmp_path / "data") if clip.is_esc]
    names = ["Siren", "Rain", "Clock"]
    scores = np.random.default_rng(0).random((len(clips), 3)).astype(np.float32)
    listed, groups = label_matrix(clips, names), [clip.group for clip in clips]
    by_clip, by_group = hit_at(1, scores, listed), hit_at_of_groups(1, scores, listed, groups, 0)
    assert (by_group.value, by_group.n) == (by_clip.value, by_clip.n)
    assert by_group.low < by_group.value < by_group.high
    one_recording = hit_at_of_groups(1, scores, listed, ["g"] * len(clips), 0)
    assert one_recording.low == one_recording.high == by_clip.value


def test_command_writes_figures_and_a_picture(
    unheard: str, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(command, ["--strange", unheard, checkpoint, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{KITCHEN}: 6 clips, 3 recordings" in done.output
    content = json.loads((out / "metrics.json").read_text())
    content.pop("command")
    assert msgspec.convert(content, StrangeResults) == evaluate_strange([unheard, checkpoint])
    assert (out / "strange.png").read_bytes().startswith(b"\x89PNG")


def test_events_are_those_of_thresholds_that_other_recordings_chose(
    unheard: str, checkpoint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(command, ["--strange", "--events", unheard, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "42 held-out clips" in done.output
    assert "42 of strange places" in done.output
    written = json.loads((out / "strange_events.json").read_text())
    (model,) = written["strange"]["models"]
    assert model["n_clips"] == 42
    assert model["wrong"]["value"] <= 0.1
    with pytest.raises(EdgeAudioError, match="score it by itself"):
        evaluate_strange_events([unheard, checkpoint], (), "normal")


class FooledOnce:
    """Gives every clip of a siren 0.5, and one of rain 0.9."""

    name, step_s, lag_s = "fooled", 0.08, 0.0
    labels: tuple[str, ...] = ("Siren", "Rain")

    def track(self, samples: np.ndarray) -> ScoreTrack:
        score = {1: 0.5, 2: 0.01, 3: 0.9}[int(samples[0] * 100)]
        return ScoreTrack(np.array([0.08]), np.array([[score, 0.01]], np.float32))


def test_a_clip_does_not_choose_the_thresholds_that_it_is_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [
        Clip(
            path=f"{i}.wav",
            tier="A",
            labels=("Siren",) if i < 12 else ("Rain",),
            esc10_class="",
            esc50_class="",
            fold=5,
            group=f"g{i}",
            duration_s=1.0,
            licence="CC0",
        )
        for i in range(24)
    ]
    codes = {clip.path: 1 if i < 12 else 3 if i == 23 else 2 for i, clip in enumerate(clips)}
    monkeypatch.setattr(
        soundscapes, "read_clip", lambda path, _: np.full(8, codes[path.name] / 99, np.float32)
    )
    labels = ("Siren", "Rain")
    reported = report_left_out(FooledOnce(), "normal", labels, tmp_path, clips)
    assert reported == [{"Siren"}] * 12 + [set()] * 11 + [{"Siren"}]
    quiet = report_left_out(FooledOnce(), "quiet", labels, tmp_path, clips)
    assert sum(map(len, quiet)) < 13, "one of 24 is more than 3 %"


@pytest.mark.parametrize("other", [["--soundscapes"], ["--folds", "folds.toml"]])
def test_strange_places_are_measured_by_themselves(checkpoint: str, other: list[str]) -> None:
    done = CliRunner().invoke(command, ["--strange", checkpoint, *other])
    assert done.exit_code == 2
    assert "one of them at a time" in done.output


def test_a_model_that_has_heard_a_set_is_said_to_in_the_picture(
    checkpoint: str, tmp_path: Path
) -> None:
    draw_strange(evaluate_strange([checkpoint]), tmp_path / "out")
    assert (tmp_path / "out" / "strange.png").stat().st_size > 10_000
