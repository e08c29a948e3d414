"""Everybody whose recordings shipped weights were trained on is named."""

from pathlib import Path

import pytest

from distill.attribution import to_markdown
from tests.support.paths import REPOSITORY


@pytest.mark.usefixtures("data_dir")
def test_the_attribution_page_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    page = "\n".join(to_markdown(Path("distill/recipes/ship.toml"))) + "\n"
    assert (REPOSITORY / "docs" / "attribution.md").read_text(encoding="utf-8") == page
