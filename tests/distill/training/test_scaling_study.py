"""benchmarks/scaling_study.py trains its cells once each, and says what more of each is worth."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from click.testing import CliRunner, Result

from distill.data.clip_list import read_clip_list
from distill.evaluation.metrics import Estimate
from edge_audio.errors import UsageError
from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

RECIPE = """
name = "toy"
seed = 0

[split]
tiers = ["A"]
held_out_folds = [5]
hold_out_esc = true

[[teachers]]
kind = "efficientat"
checkpoint = "small.pt"
width = 0.1
layers = [11, 16]

[student]
preset = "tiny"

[training]
n_mixtures = 8
n_steps = 1
batch_size = 2
n_warmup_steps = 1

[mixture]
duration_s = 1.28
"""


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return load_script(REPOSITORY / "benchmarks" / "scaling_study.py")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(RECIPE)
    return path


def run(study: ModuleType, recipe: Path, *arguments: object) -> Result:
    folder = recipe.parent
    fixed = ("--recipe", recipe, "--steps", 1, "--runs-dir", folder, "--out", folder / "scaling")
    return CliRunner().invoke(study.main, [str(one) for one in (*fixed, *arguments)])


def measured(study: ModuleType, cell: object, hit_at_5: float) -> object:
    hits = [Estimate(value=value, low=0.0, high=1.0, n=9) for value in (0.1, hit_at_5)]
    score = study.Score(hits=tuple(hits), mean_average_precision=None, lwlrap=hits[0])
    scores = {"ESC": score, "all but ESC": score}
    return study.Measured(cell=cell, n_clips=9, audio_h=1.0, n_mixtures=9, scores=scores)


def test_a_cell_is_a_recipe_that_has_not_heard_strange_places(
    study: ModuleType, recipe: Path, in_workshop: Path
) -> None:
    clips = read_clip_list(in_workshop / "data")
    cell = study.Cell(size="micro", audio_share=0.5, n_steps=4, mixtures_per_clip=2)
    made, heard = study.recipe_of(cell, recipe, clips)
    assert made.name == "scaling-micro-audio50-steps4-mixtures2"
    assert made.split.hold_out_strange
    everything = msgspec.structs.replace(made.split, audio_share=1.0).divide(clips)[0]
    assert 0 < len(heard) < len(everything)
    assert (made.training.n_steps, made.training.n_mixtures) == (4, 2 * len(heard))


def test_study_has_every_combination_once(study: ModuleType) -> None:
    cells = study.all_cells(2_000)
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 3 * 3 * 2
    assert {cell.n_steps for cell in cells} == {2_000, 8_000, 32_000}
    assert len(study.choose(cells, ["tiny-*-steps2000-*", "micro-audio25-*"])) == 6 + 6
    with pytest.raises(UsageError, match="no cell is called small"):
        study.choose(cells, ["small-*"])


def test_gains_compare_cells_that_differ_in_one_thing_alone(study: ModuleType) -> None:
    cell = study.Cell(size="micro", audio_share=0.25, n_steps=1, mixtures_per_clip=1)
    replace = msgspec.structs.replace
    rows = [
        measured(study, cell, 0.1),
        measured(study, replace(cell, n_steps=4), 0.2),
        measured(study, replace(cell, n_steps=16), 0.5),
        measured(study, replace(cell, audio_share=1.0), 0.15),
        measured(study, replace(cell, size="tiny", n_steps=4), 0.6),
    ]
    found = {
        (title, size): [round(rise, 6) for rise in rises]
        for title, size, rises in study.gains(rows, "ESC")
    }
    assert found == {
        ("4 x audio", "micro"): [0.05],
        ("4 x steps", "micro"): [0.1, 0.3],
        ("tiny for micro", "micro"): [0.4],
    }
    page = study.to_markdown(study.Study(command="c", recipe="r", measured=tuple(rows)), "a.svg")
    assert "| 4 x steps | micro | 2 | +20.0 (+10.0 to +30.0) | +20.0 (+10.0 to +30.0) |" in page


def test_cells_are_trained_scored_and_kept(
    study: ModuleType, recipe: Path, in_workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(study, recipe, "--cells", "micro-audio50-steps1-mixtures1")
    assert done.exit_code == 0, done.output
    assert "| micro | 0.00 h |" in done.output
    first = (recipe.parent / "scaling.json").read_bytes()
    assert (recipe.parent / "scaling.svg").read_text().startswith("<?xml")

    def refuse(*_: object) -> None:
        raise AssertionError("it has been measured before")

    monkeypatch.setattr(study, "distill", refuse)
    again = run(study, recipe, "--cells", "micro-audio50-steps1-mixtures1")
    assert again.exit_code == 0, again.output
    assert (recipe.parent / "scaling.json").read_bytes() == first


def test_cells_of_another_recipe_are_not_mixed_in(study: ModuleType, recipe: Path) -> None:
    other = study.Study(command="c", recipe="other.toml")
    (recipe.parent / "scaling.json").write_bytes(msgspec.json.encode(other))
    done = run(study, recipe)
    assert isinstance(done.exception, UsageError)
    assert "other.toml: choose another --out" in str(done.exception)


def test_list_trains_nothing(study: ModuleType, recipe: Path) -> None:
    done = run(study, recipe, "--list", "--cells", "tiny-audio100-*")
    assert done.exit_code == 0
    assert len(done.output.splitlines()) == 6
    assert "split.hold_out_strange=true" in done.output
