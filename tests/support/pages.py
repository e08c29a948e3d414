"""The repository's Markdown pages, and what they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.paths import REPOSITORY

FOLDERS = (
    "edge_audio",
    "distill",
    "quantize",
    "firmware_bridge",
    "tests",
    "benchmarks",
    "docs",
    "examples",
    ".github",
)


class Link(NamedTuple):
    """A link of a page to a file of the repository (of the page itself: ""), and to a heading."""

    page: Path
    file: str
    anchor: str

    @property
    def target(self) -> Path:
        return (self.page.parent / self.file).resolve() if self.file else self.page


def pages() -> list[Path]:
    """All Markdown pages, in order."""
    below = (path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.md"))
    return sorted([*REPOSITORY.glob("*.md"), *below])


@cache
def all_files() -> tuple[Path, ...]:
    """All files of the repository's folders, and those beside them."""
    below = (path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*"))
    return tuple(path for path in [*REPOSITORY.iterdir(), *below] if path.is_file())


@cache
def tokens(page: Path) -> list[Token]:
    """Blocks and, after each, what stands in its lines."""
    found = []
    for block in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        found += [block, *(block.children or ())]
    return found


def links(page: Path) -> Iterator[Link]:
    """Links and pictures of a page, but for those that lead out of the repository."""
    for token in tokens(page):
        address = token.attrGet("href") or token.attrGet("src")
        if address is not None and not re.match(r"[a-z]+:", str(address)):
            file, _, anchor = str(address).partition("#")
            yield Link(page, file, anchor)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    blocks = tokens(page)
    for i, token in enumerate(blocks):
        if token.type == "heading_open":
            text = "".join(t.content for t in blocks[i + 1].children or ())
            base = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            n = sum(re.fullmatch(rf"{re.escape(base)}(-\d+)?", one) is not None for one in found)
            found.add(f"{base}-{n}" if n else base)
    return found


def named_in_code(page: Path) -> Iterator[str]:
    """Words of a page's code, inline and in blocks."""
    for token in tokens(page):
        if token.type in ("code_inline", "fence", "code_block"):
            yield from token.content.split()
