"""Everybody whose recordings shipped weights were trained on is named."""

from pathlib import Path

import pytest

from distill.attribution import credits_by_source, to_markdown
from tests.support.paths import REPOSITORY
from tests.support.real_audio import first_clip_list

RECIPE = Path("distill/recipes/base.toml")


@pytest.mark.usefixtures("clip_list")
def test_the_attribution_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    page = "\n".join(to_markdown(RECIPE)) + "\n"
    assert (REPOSITORY / "docs" / "attribution.md").read_text(encoding="utf-8") == page


def test_weights_of_the_first_clip_list_are_covered(clip_list: Path) -> None:
    first, whole = (
        {
            (*source, name)
            for source, names in credits_by_source(REPOSITORY / RECIPE, path).items()
            for name in names
        }
        for path in (first_clip_list(clip_list.parent), clip_list)
    )
    assert len(first) > 500
    assert first < whole
