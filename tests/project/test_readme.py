"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from edge_audio.bundle.store import load_bundle, shipped_bundles
from edge_audio.sources.demo import DemoScene
from tests.support.paths import REPOSITORY
from tests.support.scripts import load_script

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_as_printed(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    soundfile.write(tmp_path / "street.wav", DemoScene(16_000).first(56.0), 16_000)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.search(r"^ +\d+\.\d\d s  start  \S", done.stdout, re.MULTILINE)
    assert len(example.splitlines()) <= 12


def test_figures_of_the_shipped_models_are_those_of_the_manifests() -> None:
    """Where there are recordings, the listing is what `listen` prints, too."""
    figures = load_script(REPOSITORY / "docs" / "figures.py")
    assert figures.readme(README) == README
    n_on = len(load_bundle("tiny-int8").manifest.events.thresholds)
    (row,) = re.findall(r"^\| labels on in the bundle .*$", README, re.MULTILINE)
    assert f" {n_on} |" in row
    old = README.replace(row, "| labels on in the bundle | 1 | 2 | 3 | |")
    assert figures.readme(old.replace(f"{n_on} of 527 labels", "2 of 527 labels")) == README


def test_what_each_sensitivity_brings_is_as_the_manifests_have_it() -> None:
    figures = load_script(REPOSITORY / "docs" / "figures.py")
    page = (REPOSITORY / "docs" / "events.md").read_text(encoding="utf-8")
    assert figures.events_page(page) == page
    n_on = len(load_bundle("tiny-int8").manifest.events.sensitivities["eager"])
    (row,) = re.findall(rf"^\|  \| eager \| {n_on} .*\n", page, re.MULTILINE)
    assert figures.events_page(page.replace(row, "")) == page


@pytest.mark.parametrize("model", shipped_bundles())
def test_the_card_of_a_shipped_bundle_is_what_its_manifest_brings(model: str) -> None:
    figures = load_script(REPOSITORY / "docs" / "figures.py")
    assert figures.has_its_card(load_bundle(model)), "python docs/figures.py writes it"


def test_every_command_that_it_names_exists() -> None:
    named = set(re.findall(r"^edge-audio ([a-z]+)", README, re.MULTILINE))
    listed = subprocess.run(
        [sys.executable, "-m", "edge_audio", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert named
    assert all(re.search(rf"^  {name} ", listed, re.MULTILINE) for name in named)


def test_a_bundle_runs_without_this_package_as_the_docs_show() -> None:
    page = (REPOSITORY / "docs" / "bundles.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=load_bundle("tiny-int8").path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"\S.* 0\.\d+\n", done.stdout)
