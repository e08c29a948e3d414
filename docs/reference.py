"""Writes the reference of the public names of `edge_audio` from their docstrings, as HTML.

    python docs/reference.py [FOLDER]    # build/reference unless a folder is given

Exits with 1, and says why, where pdoc warns or a link leads nowhere.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import FunctionType

import pdoc

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "build" / "reference"
FIELD = re.compile(r"^([a-z]\w*(?:, [a-z]\w*)*): ", re.MULTILINE)


class Page(HTMLParser):
    """Addresses that a page leads to, and places within it that can be led to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.places = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.places.add(values.get("id") or "")
        self.addresses.add(values.get("href") or values.get("src") or "")


def import_public_names() -> None:
    """`edge_audio` imports its names on first use, where pdoc would miss them, and pdoc cannot
    see where the types of a NamedTuple's fields come from."""
    import edge_audio

    for name in edge_audio.__all__:
        value = getattr(edge_audio, name)
        if isinstance(value, type) and hasattr(value, "_fields"):
            value.__new__.__annotations__ = typing.get_type_hints(value)
        for documented in [value, *(vars(value).values() if isinstance(value, type) else ())]:
            list_fields(documented)


def list_fields(value: object) -> None:
    """Lines such as "time_s: seconds ..." of a docstring become items of a list."""
    if isinstance(value, type | FunctionType | property) and value.__doc__:
        value.__doc__ = FIELD.sub(r"- `\1`: ", inspect.cleandoc(value.__doc__))


def write(folder: Path) -> None:
    """Raises the first warning as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import_public_names()
        pdoc.render.configure(docformat="markdown", show_source=False, search=False)
        pdoc.pdoc("edge_audio", output_directory=folder)


def broken_links(folder: Path) -> list[str]:
    """Links within the folder's pages to files or places that do not exist."""
    pages = {file.name: Page(file) for file in folder.glob("*.html")}
    broken = []
    for name, page in pages.items():
        for address in sorted(page.addresses):
            file, _, place = address.partition("#")
            if ":" in file:
                continue
            target = pages.get(file.removeprefix("./") or name)
            if target is None or place not in target.places:
                broken.append(f"{name}: {address}")
    return broken


def main() -> None:
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    write(folder)
    if broken := broken_links(folder):
        sys.exit("links that lead nowhere:\n" + "\n".join(broken))
    print(folder / "edge_audio.html")


if __name__ == "__main__":
    main()
