"""What is installed: every file of the packages that is kept in the repository, and no other."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

PACKAGES = ("edge_audio", "distill", "quantize", "firmware_bridge")
# Kept beside the code, but for those who work on it.
NOT_INSTALLED = {"distill/checkpoints"}


def kept_files() -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no repository: git has no list of files")
    return {name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel that is built from the files of the repository."""
    pytest.importorskip("setuptools", minversion="77")
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "out"))
    for name in kept_files():
        if name.startswith((*PACKAGES, "pyproject.toml", "README.md", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, source / name)
    code = "import setuptools.build_meta as m, sys; m.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, check=True
    )
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as content:
        return set(content.namelist())


def test_a_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: set[str]) -> None:
    kept = {name for name in kept_files() if name.partition("/")[0] in PACKAGES}
    kept = {name for name in kept if not name.startswith(tuple(NOT_INSTALLED))}
    installed = {name for name in wheel if ".dist-info/" not in name}
    assert sorted(kept - installed) == []
    assert sorted(installed - kept) == []


def test_a_wheel_says_that_it_is_typed_and_has_its_models_and_its_licence(wheel: set[str]) -> None:
    assert "edge_audio/py.typed" in wheel
    assert "edge_audio/models/tiny-int8/manifest.json" in wheel
    assert any(Path(name).name == "LICENSE" for name in wheel)
