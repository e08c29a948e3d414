"""benchmarks/ablations.py: its page is that of its figures, and each row is a recipe."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from distill.evaluation.metrics import Estimate
from distill.training.recipe import read_recipe
from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def ablations() -> ModuleType:
    return load_script(REPOSITORY / "benchmarks" / "ablations.py")


def test_the_page_is_that_of_the_figures(ablations: ModuleType) -> None:
    kept = msgspec.json.decode((DOCS / "ablations.json").read_bytes(), type=ablations.Ablations)
    assert ablations.to_markdown(kept) == (DOCS / "ablations.md").read_text()


def test_every_row_is_a_recipe(ablations: ModuleType) -> None:
    for recipe, short, rows in (
        (ablations.RECIPE, ablations.SHORT, ablations.ROWS),
        (ablations.METHODS_RECIPE, ablations.METHODS_SHORT, ablations.METHODS),
    ):
        for settings in rows.values():
            read_recipe(REPOSITORY / recipe, (*short, "training.n_steps=1", *settings))


def test_rows_without_code_stay_behind_the_others_with_how_they_were_made(
    ablations: ModuleType,
) -> None:
    figure = Estimate(value=0.5, low=0.4, high=0.6, n=9)

    def row(name: str, note: str = "") -> object:
        return ablations.Row(name, ("loss.clip=2",), 400, figure, figure, figure, note)

    rows = [row("late", "a description"), row("second"), row("gone"), row("first")]
    kept = ablations.in_order(rows, ["first", "second"])
    assert [one.name for one in kept] == ["first", "second", "late"]
    lines = ablations.table(kept)
    assert lines[-1].startswith("| late | a description | 50.0")
    assert lines[-2].startswith("| second | `loss.clip=2` | 50.0")


def test_a_row_without_a_label_head_has_no_average_precision(ablations: ModuleType) -> None:
    figure = Estimate(value=0.5, low=0.4, high=0.6, n=9)
    row = ablations.Row("encoder", (), 400, figure, figure, None, "a description")
    kept = msgspec.json.decode(msgspec.json.encode(row), type=ablations.Row)
    assert ablations.table([kept])[-1] == (
        "| encoder | a description | 50.0 (40.0-60.0) | 50.0 (40.0-60.0) | - |"
    )


def test_methods_alone_are_a_page(ablations: ModuleType, tmp_path: Path) -> None:
    figure = Estimate(value=0.5, low=0.4, high=0.6, n=9)
    row = ablations.Row("base", (), 4, figure, figure, figure)
    ablations.publish(ablations.Ablations("a command", methods=(row,)), tmp_path / "out")
    assert "| base |  | 50.0" in (tmp_path / "out.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.md"]
