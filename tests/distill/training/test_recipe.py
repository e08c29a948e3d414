"""Recipes are read strictly."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from distill.students.lti import LTIConfig
from distill.students.sizes import student_config
from distill.teachers.config import TransformersConfig, YamnetConfig
from distill.training.recipe import read_recipe, trust_teachers
from edge_audio.errors import UsageError
from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / "distill" / "recipes"
SHIPPED = [FOLDER / name for name in ("esc_free.toml", "base.toml", "events.toml")]
MINIMAL = """
name = "x"
seed = 0
[split]
tiers = ["A"]
[[teachers]]
kind = "efficientat"
checkpoint = "t.pt"
width = 0.4
[training]
n_mixtures = 64
n_steps = 10
"""


def read(tmp_path: Path, text: str) -> object:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_trains_on_publishable_tiers_only(path: Path) -> None:
    recipe = read_recipe(path)
    assert set(recipe.split.tiers) <= {"A", "B"}
    assert recipe.split.held_out_folds


def test_published_students_go_on_from_the_long_training() -> None:
    _, base, events = (read_recipe(path) for path in SHIPPED)
    assert base.split.hold_out_strange
    assert events.start_from is not None
    assert (REPOSITORY / events.start_from).is_file()
    fields = ("teachers", "mixture", "student", "split", "seed")
    assert all(getattr(events, field) == getattr(base, field) for field in fields)


def test_settings_change_single_fields() -> None:
    settings = ("student.delay_ms=80", "name=micro", "student.preset=micro", "loss.layer = 0")
    recipe = read_recipe(SHIPPED[0], settings)
    assert recipe.name == "micro"
    assert recipe.loss.layer == 0
    expected = msgspec.structs.replace(student_config("micro"), delay_ms=80.0)
    assert recipe.student == expected


def test_trust_is_given_to_transformers_teachers_alone() -> None:
    hub = 'teachers=[{kind = "transformers", model = "m", layers = [1]}, {kind = "yamnet"}]'
    recipe = read_recipe(SHIPPED[0], [hub])
    teachers = trust_teachers(recipe).teachers
    expected = TransformersConfig(model="m", layers=(1,), trust_remote_code=True)
    assert teachers == (expected, YamnetConfig())


def test_a_mixer_of_another_kind_replaces_the_presets_own() -> None:
    recipe = read_recipe(SHIPPED[0], ['student.mixer = {kind = "ssm-lti", n_modes = 3}'])
    assert recipe.student.mixer == LTIConfig(n_modes=3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("delay", "not of the form"),
        ("student.preset=huge", "no student preset"),
        ("student.delay=4", "delay"),
        ("training.n_steps=many", r"\$\.training\.n_steps"),
    ],
)
def test_a_setting_that_does_not_fit_is_a_usage_error(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(SHIPPED[0], [setting])


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("n_steps = 10", 'n_steps = "ten"', r"\$\.training\.n_steps"),
        ("n_steps = 10", "n_step = 10", "n_step"),
        ("width = 0.4", "", "width"),
        ('tiers = ["A"]', 'tiers = "A"', r"\$\.split\.tiers"),
        ("seed = 0", "seed = 0\nsed = 1", "sed"),
        ("seed = 0", "seed = 0\nnew_mixers = true", "new_mixers needs start_from"),
        (
            "seed = 0",
            'seed = 0\nnew_mixers = true\nstart_from = "a.pt"\nblend = 0.2',
            "leave out new_mixers",
        ),
        ("n_steps = 10", "n_steps = 10\nbatch_size = 0", "batch_size"),
        ("n_steps = 10", "n_steps = 10\ncheckpoint_every_steps = 0", "checkpoint_every_steps"),
        ("n_steps = 10", "n_steps = 10\n[masking]\nshare = 1\nband_mels = 0", "band_mels"),
        ("n_steps = 10", "n_steps = 10\n[masking]\nshare = 1\nspan_s = 0.0", "span_s"),
        (
            "n_steps = 10",
            f"n_steps = 10\n[mixture]\nn_sources_weights = {[1.0] * 10}",
            "n_sources_weights",
        ),
    ],
)
def test_error_names_the_field(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert MINIMAL.count(old) == 1
    with pytest.raises(UsageError, match=rf"recipe\.toml: .*{named}"):
        read(tmp_path, MINIMAL.replace(old, new))


def test_minimal_recipe_gets_the_defaults(tmp_path: Path) -> None:
    recipe = read(tmp_path, MINIMAL)
    assert recipe.training.batch_size == 32  # type: ignore[attr-defined]


def test_text_that_is_no_toml_and_missing_file_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="recipe"):
        read(tmp_path, "name = ")
    with pytest.raises(UsageError, match="there is no recipe"):
        read_recipe(tmp_path / "none.toml")


def test_a_recipe_that_extends_itself_is_a_usage_error(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a"), ("c", "c")):
        (tmp_path / f"{name}.toml").write_text(f'extends = "{base}.toml"\n')
    for name in "abc":
        with pytest.raises(UsageError, match=r"\.toml extends itself"):
            read_recipe(tmp_path / f"{name}.toml")
