"""The rooms of the house: which folder stands on which floor, and who imports whom, read from the
source. `tests/project/test_floors.py` holds it, `docs/rooms.py` draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.paths import REPOSITORY

# From the ground up; folders of one line stand beside each other and do not know each other.
FLOORS = {
    "edge_audio": """
        errors
        support
        bundle labels
        features events sources service sounds
        engine serial sinks
        history
        backends page report
        tagging
        listening archive tuning bench learning
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
        scoring publish attribution
        calibration
        evaluation
        negatives
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


def all_imports() -> dict[str, set[str]]:
    """Module -> modules that it imports, of all packages."""
    known = modules()
    return {name: set(imports_of(path, known)) - {name} for name, path in known.items()}


def floors(package: str) -> dict[str, int]:
    """Folder -> its floor, 0 at the ground."""
    lines = FLOORS[package].strip().splitlines()
    return {f"{package}.{folder}": i for i, line in enumerate(lines) for folder in line.split()}


def folder_of(module: str) -> str:
    return ".".join(module.split(".")[:2])
