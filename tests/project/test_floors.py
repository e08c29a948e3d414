"""The order of the rooms: a folder imports only from those that stand before it, read from the
source, imports inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

# From the ground up; folders of one line stand beside each other and do not know each other.
FLOORS = {
    "edge_audio": """
        errors
        support
        bundle labels
        features events sources service
        engine serial sinks
        backends report
        tagging
        listening archive tuning bench
        cli
    """,
    "distill": """
        progress
        data students
        runs
        mixing
        pretraining
        teachers
        training
        scoring
        calibration
        evaluation
        cli
    """,
    "quantize": """
        schemes
        graph
        export qat
        publish
        build
        cli
    """,
    "firmware_bridge": """
        toolchains
        target_table
        builders
        folder
        cli
    """,
}
PACKAGES = tuple(FLOORS)
# A package's own page may show what stands on any floor: nothing within the package imports it.
FRONT_DOORS = {f"{package}.__init__" for package in PACKAGES} | {"edge_audio.__main__"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


def modules() -> dict[str, Path]:
    """Dotted name (of a package: its `__init__`) -> file, of all packages."""
    files = (path for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py"))
    return {module_name(path): path for path in files}


def imports_of(path: Path, known: Mapping[str, object]) -> Iterator[str]:
    """Modules of `known` that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names.append(str(node.module))
        else:
            continue
        for name in names:
            found = [one for one in (name, f"{name}.__init__") if one in known]
            yield from found


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    """Module -> modules that it imports."""
    known = modules()
    return {name: set(imports_of(path, known)) - {name} for name, path in known.items()}


def floors(package: str) -> dict[str, int]:
    """Folder -> its floor, 0 at the ground."""
    lines = FLOORS[package].strip().splitlines()
    return {f"{package}.{folder}": i for i, line in enumerate(lines) for folder in line.split()}


def folder_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_its_floor(package: str) -> None:
    folders = {folder_of(name) for name in modules() if name.startswith(f"{package}.")}
    assert folders - {f"{package}.__init__", f"{package}.__main__"} == set(floors(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_imports_from_a_higher_floor(package: str, arrows: dict[str, set[str]]) -> None:
    floor = floors(package)
    wrong = {
        f"{source} -> {target}"
        for source, targets in arrows.items()
        for target in targets
        if source not in FRONT_DOORS and {folder_of(source), folder_of(target)} <= set(floor)
        if folder_of(source) != folder_of(target)
        if floor[folder_of(source)] <= floor[folder_of(target)]
    }
    assert not wrong


def test_no_modules_import_each_other_in_a_circle(arrows: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_inside_functions_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("def f():\n    from edge_audio.events import detector\n    import distill\n")
    known = {
        "edge_audio.events.detector": 0,
        "edge_audio.events.__init__": 0,
        "distill.__init__": 0,
    }
    assert set(imports_of(file, known)) == set(known)
