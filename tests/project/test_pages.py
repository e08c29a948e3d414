"""Pages lead where they say: links, anchors, paths and dotted names that they, and docstrings,
name; and the index lists all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import edge_audio
from tests.support.floors import PACKAGES, modules
from tests.support.pages import FOLDERS, all_files, anchors, links, named_in_code, pages, tokens
from tests.support.paths import REPOSITORY

PAGES = pages()
INDEX = REPOSITORY / "docs" / "README.md"
# Made on the reader's machine, not in the repository.
MADE = re.compile(r"docs/benchmark\.(json|md)")
PATH = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*{{}},<>-]+")
DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
SUFFIXES = ("py", "c", "h", "md", "toml", "json", "txt", "mjs", "cpp", "js", "wasm", "bin")
# Sources that are written beside a model when firmware is built, and the JDK's.
GENERATED = {"edge_audio_config.h", "jni.h"}
PORT = "port/"  # of a firmware folder: what comes from firmware_bridge/targets


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    wrong = [
        f"{link.file}#{link.anchor}"
        for link in links(page)
        if not link.target.exists() or (link.anchor and link.anchor not in anchors(link.target))
    ]
    assert not wrong


def test_the_index_lists_every_page_of_the_docs_and_examples() -> None:
    listed = {link.target for link in links(INDEX)}
    wanted = {
        page
        for page in PAGES
        if page != INDEX and page.relative_to(REPOSITORY).parts[0] in ("docs", "examples")
    }
    assert {str(page.relative_to(REPOSITORY)) for page in wanted - listed} == set()


def test_the_readme_leads_to_the_index_and_to_the_pages_for_contributors() -> None:
    targets = {link.target for link in links(REPOSITORY / "README.md")}
    names = ("docs/README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
    assert {REPOSITORY / name for name in names} <= targets


def paths_in(text: str) -> Iterator[str]:
    """Paths of the repository that a word of code names, `{a,b}` written out."""
    for found in PATH.findall(text):
        path = found.rstrip(".,")
        if group := re.fullmatch(r"(.*)\{([\w.,]+)\}(.*)", path):
            before, words, after = group.groups()
            yield from (f"{before}{word}{after}" for word in words.split(","))
        elif not re.search(r"[<>{},]", path):
            yield path


def is_there(path: str) -> bool:
    return any(REPOSITORY.glob(path.rstrip("/"))) or MADE.fullmatch(path) is not None


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # speaks of what was, too
    assert [p for word in named_in_code(page) for p in paths_in(word) if not is_there(p)] == []


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_source_file_that_a_page_names_exists(page: Path) -> None:
    words = {word.strip("`(),;:") for word in named_in_code(page)}
    files = {word for word in words if re.fullmatch(r"[\w./-]+\.(py|c|h)", word)}
    known = [f"/{path.relative_to(REPOSITORY)}" for path in all_files()]
    wrong = {
        file
        for file in files - GENERATED
        if not any(path.endswith(f"/{file.removeprefix(PORT)}") for path in known)
    }
    assert page.name == "CHANGELOG.md" or not wrong


def python_files() -> list[Path]:
    folders = (*PACKAGES, "tests", "benchmarks", "docs", "examples")
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


@cache
def docstrings(path: Path) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [ast.get_docstring(node) or "" for node in nodes if isinstance(node, documented)]


def test_every_path_that_a_docstring_names_exists() -> None:
    wrong = {
        f"{file.relative_to(REPOSITORY)}: {path}"
        for file in python_files()
        for text in docstrings(file)
        for word in text.split()
        for path in paths_in(word)
        if not is_there(path) and path.endswith(SUFFIXES)
    }
    assert not wrong


@cache
def names_of(module: Path) -> set[str]:
    """What a module defines or imports at its top level."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def resolves(dotted: str) -> bool:
    """Whether it is a module, or a name that stands in one."""
    known = modules()
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        module = ".".join(parts[:n])
        path = known.get(module) or known.get(f"{module}.__init__")
        if path is not None:
            return n == len(parts) or parts[n] in names_of(path)
    return False


# Groups of entry points, which are no modules.
ENTRY_POINTS = {"edge_audio.commands", "edge_audio.bench_peers"}


def is_dotted_name(word: str) -> bool:
    return DOTTED.fullmatch(word) is not None and word.rpartition(".")[2] not in SUFFIXES


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_every_dotted_name_of_a_page_is_defined(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    words = {word.strip("`(),;:") for word in named_in_code(page)}
    assert {w for w in words if is_dotted_name(w) and not resolves(w)} - ENTRY_POINTS == set()


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/glossary.md"])
def test_classes_that_a_page_for_contributors_names_exist(name: str) -> None:
    words = {token.content for token in tokens(REPOSITORY / name) if token.type == "code_inline"}
    classes = {word for word in words if re.fullmatch(r"(?:[A-Z]+[a-z]+)+", word)}
    defined = set().union(*(names_of(path) for path in modules().values()))
    assert classes
    assert classes - defined == set()


def test_where_the_changelog_says_that_things_are_they_are() -> None:
    rows = re.findall(
        r"^  \| .* \| (.*) \|$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    names = [name for row in rows for name in re.findall(r"`(?:python -m )?([\w.]+)`", row)]
    public = {f"edge_audio.{name}" for name in edge_audio.__all__}
    assert len(names) > 20
    assert [name for name in names if name not in public and not resolves(name)] == []


def test_every_dotted_name_of_a_docstring_is_defined() -> None:
    wrong = {
        f"{file.relative_to(REPOSITORY)}: {name}"
        for file in python_files()
        for text in docstrings(file)
        for name in re.findall(r"`([\w.]+)`", text)
        if is_dotted_name(name) and name not in ENTRY_POINTS and not resolves(name)
    }
    assert not wrong


def test_names_and_paths_are_told_from_what_only_looks_like_them() -> None:
    assert list(paths_in("distill/{data,runs}/x.py")) == ["distill/data/x.py", "distill/runs/x.py"]
    assert list(paths_in("edge_audio/models/<name>/")) == []
    assert list(paths_in("(benchmarks/soak.py).")) == ["benchmarks/soak.py"]
    assert not is_there("distill/no_such_file.py")
    assert resolves("edge_audio.tagging.tagger.Tagger")
    assert not resolves("edge_audio.tagging.tagger.Nothing")
    assert not resolves("edge_audio.nothing")
