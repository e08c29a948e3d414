"""What is installed: every file of the packages that is kept in the repository, and no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from edge_audio.backends.compiler import C, find_compiler
from edge_audio.engine.variants import file_name, machine_of, variants_of
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
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packed of the repository."""
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path_factory.mktemp("source")
    for name in kept_files():
        if name.startswith((*PACKAGES, "pyproject.toml", "setup.py", "README.md", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, source / name)
    return source


def build(source: Path, out: Path, what: str, engine: str) -> Path:
    """A wheel or an sdist. engine: whether the C engine is compiled, see setup.py."""
    code = f"import setuptools.build_meta as m, sys; m.build_{what}(sys.argv[1])"
    command = [sys.executable, "-c", code, str(out)]
    environment = {**os.environ, "EDGE_AUDIO_ENGINE": engine}
    subprocess.run(command, cwd=source, env=environment, capture_output=True, check=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel that is built without a compiler."""
    path = build(source, tmp_path_factory.mktemp("out"), "wheel", "none")
    assert path.name.endswith("-py3-none-any.whl")
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


@pytest.mark.skipif(not find_compiler(C), reason="needs a C compiler: apt install gcc")
def test_a_wheel_has_the_engine_for_every_cpu_of_its_machine(source: Path, tmp_path: Path) -> None:
    path = build(source, tmp_path, "wheel", "required")
    platform = path.stem.rpartition("-none-")[2]
    assert platform != "any"
    assert "-py3-none-" in path.name  # any Python takes it
    wanted = {file_name(variant) for variant in variants_of(machine_of(platform))}
    with zipfile.ZipFile(path) as content:
        found = [name for name in content.namelist() if name.startswith("edge_audio/engine/lib/")]
    assert {Path(name).name for name in found} == wanted


def test_an_sdist_holds_all_that_the_engine_is_compiled_from(source: Path, tmp_path: Path) -> None:
    with tarfile.open(build(source, tmp_path, "sdist", "none")) as content:
        packed = {name.partition("/")[2] for name in content.getnames()}
    kept = {name for name in kept_files() if name.startswith("firmware_bridge/engine/")}
    assert {"setup.py", "edge_audio/engine/variants.py", *kept} <= packed
