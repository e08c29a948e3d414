"""The order of the rooms: a folder imports only from those that stand before it, read from the
source, imports inside functions included."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.floors import (
    FRONT_DOORS,
    PACKAGES,
    all_imports,
    floors,
    folder_of,
    imports_of,
    modules,
)


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    """Module -> modules that it imports."""
    return all_imports()


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
