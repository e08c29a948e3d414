"""Recipes are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.recipe import read_recipe
from edge_audio.errors import UsageError

SHIPPED = sorted((Path(__file__).parents[2] / "distill" / "recipes").glob("*.toml"))
MINIMAL = """
name = "x"
seed = 0
[split]
tiers = ["A"]
[teacher]
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


def test_recipes_ship_with_the_package() -> None:
    assert {"tiny.toml", "tiny_esc_free.toml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_parses_and_trains_on_publishable_tiers_only(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name.replace("-", "_") == path.stem
    assert set(recipe.split.tiers) <= {"A", "B"}
    assert recipe.split.held_out_folds


def test_scored_recipe_differs_from_the_shipped_one_by_its_split_only() -> None:
    recipes = {path.stem: read_recipe(path) for path in SHIPPED}
    tiny, scored = recipes["tiny"], recipes["tiny_esc_free"]
    assert scored.split.hold_out_esc
    assert not tiny.split.hold_out_esc
    fields = ("teacher", "training", "mixture", "student", "loss", "seed")
    assert all(getattr(tiny, field) == getattr(scored, field) for field in fields)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("n_steps = 10", 'n_steps = "ten"', r"\$\.training\.n_steps"),
        ("n_steps = 10", "n_step = 10", "n_step"),
        ("width = 0.4", "", "width"),
        ('tiers = ["A"]', 'tiers = "A"', r"\$\.split\.tiers"),
        ("seed = 0", "seed = 0\nsed = 1", "sed"),
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
    with pytest.raises(UsageError, match="does not exist"):
        read_recipe(tmp_path / "none.toml")
