"""The packages meet only through files: who may import whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

PACKAGES = ("edge_audio", "distill", "quantize", "firmware_bridge")
TRAINING_LIBRARIES = ("torch", "torchaudio", "scipy", "sklearn", "matplotlib", "litert_torch")

# What each package may import of the others; a name allows its submodules too.
# What the training side may use of the listening side: the types, the one front end, and, to
# score and check a bundle just as a user's device would run it, the public listening core.
LISTENING_CORE = (
    "edge_audio.errors",
    "edge_audio.support",
    "edge_audio.bundle",
    "edge_audio.labels",
    "edge_audio.features",
    "edge_audio.events",
    "edge_audio.backends",
    "edge_audio.tagging",
    "edge_audio.cli.console",
)
ALLOWED = {
    "edge_audio": (),
    "distill": (
        *LISTENING_CORE,
        "edge_audio.learning",
        "edge_audio.sounds",
        "edge_audio.sources.decoders",
        "edge_audio.cli.options",
    ),
    "quantize": (
        "distill",
        *LISTENING_CORE,
        "edge_audio.engine",
        "edge_audio.sources.demo",
        "edge_audio.cli.options",
        "edge_audio.cli.quiet",
    ),
    "firmware_bridge": (
        "edge_audio.errors",
        "edge_audio.support",
        "edge_audio.bundle",
        "edge_audio.labels",
        "edge_audio.engine",
        "edge_audio.events.policy",
        "edge_audio.backends",
        "edge_audio.sounds",
        "edge_audio.cli.console",
        "edge_audio.cli.options",
    ),
}


def imported_modules(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, `from a import b` as both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            names.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return names


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parent = path.relative_to(REPOSITORY).parts[: -node.level]
    return ".".join([*parent, *([node.module] if node.module else [])])


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def forbidden(package: str, path: Path) -> set[str]:
    others = [other for other in PACKAGES if other != package]
    return {
        name
        for name in imported_modules(path)
        if any(is_within(name, other) for other in others)
        and not any(is_within(name, allowed) for allowed in ALLOWED[package])
        and not any(is_within(allowed, name) for allowed in ALLOWED[package])
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package: str) -> None:
    assert sources(package)
    found = {
        str(path.relative_to(REPOSITORY)): forbidden(package, path) for path in sources(package)
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_edge_audio_never_imports_training_libraries() -> None:
    found = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sources("edge_audio")
        for name in imported_modules(path)
        if any(is_within(name, library) for library in TRAINING_LIBRARIES)
    }
    # Drawing is an extra, and put off until somebody asks for a picture.
    drawing = {"cli/compare.py", "report/picture.py", "bench/plots.py"}
    others = {one for one in found if not is_within(one.partition(": ")[2], "matplotlib")}
    assert not others
    assert {one.partition(":")[0] for one in found} == {f"edge_audio/{name}" for name in drawing}


def test_import_rules_see_every_form_of_import(tmp_path: Path) -> None:
    path = REPOSITORY / "distill" / "students" / "example.py"  # need not exist to be resolved
    node = ast.parse("from ..cli import main").body[0]
    assert isinstance(node, ast.ImportFrom)
    assert _absolute(path, node) == "distill.cli"
    example = tmp_path / "example.py"
    example.write_text("def f():\n    import torch.nn as nn\n    from edge_audio import sinks\n")
    assert imported_modules(example) == {"torch.nn", "edge_audio", "edge_audio.sinks"}
    assert forbidden("distill", example) == {"edge_audio.sinks"}


@pytest.mark.parametrize("module", ["edge_audio", "edge_audio.cli", "edge_audio.tagging.tagger"])
def test_importing_the_listening_side_loads_no_torch(module: str) -> None:
    heavy = ("torch", "distill", "quantize", "jax", "scipy")
    code = f"import sys, {module}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_alone_loads_not_even_numpy() -> None:
    code = "import sys, edge_audio; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("module", ["edge_audio.cli.tag", "edge_audio.tagging.tag"])
def test_a_file_does_not_wait_for_what_it_is_tagged_without(module: str) -> None:
    others = ("importlib.metadata", "filelock", "platformdirs", "rich", "soxr", "numpy.ma")
    needless = (*others, "multiprocessing", "http.server", "ssl", "sqlite3")
    code = f"import sys, {module}\nprint([name for name in {needless!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
