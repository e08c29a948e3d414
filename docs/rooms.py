"""Draws docs/rooms.svg: the rooms of the house, read from the imports.

    python docs/rooms.py [FILE]

Every folder stands on its floor (tests/support/floors.py), and an arrow goes from a folder to
one that it imports. An arrow is left out where a way along others leads to the same folder.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from layers import GAP, Layers, width_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.floors import FLOORS, all_imports, floors, folder_of
from tests.support.paths import REPOSITORY

PICTURE = REPOSITORY / "docs" / "rooms.svg"
COLOURS = {
    "edge_audio": "#2a6f97",
    "distill": "#8a5a00",
    "quantize": "#7b3f7d",
    "firmware_bridge": "#3d7a4a",
}
ROW_PX, BOX_PX, TITLE_PX, MARGIN_PX, LINE_PX = 58, 26, 40, 24, 17
NOTE_CHARS = 46
Graph = dict[str, set[str]]


def folder_graph(imports: Mapping[str, Iterable[str]]) -> Graph:
    """Imports of modules -> imports of the folders and loose files that they stand in."""
    graph: Graph = defaultdict(set)
    for source, targets in imports.items():
        graph[folder_of(source)] |= {folder_of(target) for target in targets}
    return {source: targets - {source} for source, targets in graph.items()}


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that are implied by others."""

    def reach(node: str) -> set[str]:
        if node not in known:
            known[node] = set().union(*({t} | reach(t) for t in graph.get(node, ())), ())
        return known[node]

    known: dict[str, set[str]] = {}
    return {
        source: {t for t in targets if not any(t in reach(o) for o in targets - {t})}
        for source, targets in graph.items()
    }


def rooms_of(package: str, graph: Graph) -> Graph:
    """The folders of one package, named without it, and which of each other they import."""
    names = floors(package)
    within = {name: graph.get(name, set()) & set(names) for name in names}
    return {
        short(name): {short(target) for target in targets}
        for name, targets in reduced(within).items()
    }


def short(name: str) -> str:
    return name.partition(".")[2]


def borrowed(package: str, graph: Graph) -> list[str]:
    """One line for each other package: which of its folders this one imports."""
    targets = set().union(*(graph.get(name, set()) for name in floors(package)))
    lines = []
    for other in FLOORS:
        names = [short(name) for name in floors(other) if name in targets]
        if other != package and names:
            lines += wrapped(f"{other}:", names)
    return lines or ["nothing of the other packages"]


def wrapped(first: str, words: Iterable[str]) -> list[str]:
    lines = [first]
    for word in words:
        if len(lines[-1]) + len(word) >= NOTE_CHARS:
            lines.append(" ")
        lines[-1] += f" {word}"
    return lines


def panel(package: str, graph: Graph, left: float, bottom: float) -> tuple[str, float]:
    """SVG of one package whose ground floor ends at `bottom`, and its width."""
    rows = [line.split() for line in FLOORS[package].strip().splitlines()]
    layers = Layers(rows, rooms_of(package, graph))
    notes = borrowed(package, graph)
    width = max(layers.width + 2 * GAP, 7.2 * max(map(len, [package, *notes])) + 2 * GAP)
    indent = left + (width - layers.width) / 2
    top = bottom - len(rows) * ROW_PX
    colour = COLOURS[package]
    parts = [
        f'<text class="title" x="{left + width / 2:.0f}" y="{top - 14:.0f}">{package}</text>',
        f'<rect class="panel" x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" '
        f'height="{len(rows) * ROW_PX}" rx="6"/>',
    ]

    def place(node: str) -> tuple[float, float]:
        return indent + layers.x[node], bottom - (layers.row[node] + 0.5) * ROW_PX

    parts += [arrow([place(node) for node in chain]) for chain in layers.chains]
    parts += [box(name, *place(name), colour) for row in rows for name in row]
    parts += [
        f'<text class="note" x="{left + GAP:.0f}" y="{bottom + (i + 1.3) * LINE_PX:.0f}">'
        f"{escape(note)}</text>"
        for i, note in enumerate(["imports", *notes])
    ]
    return "\n".join(parts), width


def box(name: str, x: float, y: float, colour: str) -> str:
    width = width_of(name)
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y - BOX_PX / 2:.0f}" width="{width:.0f}" '
        f'height="{BOX_PX}" rx="4" fill="{colour}"/>'
        f'<text class="room" x="{x:.0f}" y="{y + 4.5:.1f}">{escape(name)}</text>'
    )


def arrow(points: list[tuple[float, float]]) -> str:
    """From the lower edge of the first box, straight through rows between, to the last one's
    upper edge."""
    half = BOX_PX / 2
    x, y = points[0][0], points[0][1] + half
    path = f"M{x:.0f} {y:.0f}"
    for i, (next_x, middle) in enumerate(points[1:], 2):
        next_y = middle - half - (4 if i == len(points) else 0)
        bend = (y + next_y) / 2
        path += f" C{x:.0f} {bend:.0f} {next_x:.0f} {bend:.0f} {next_x:.0f} {next_y:.0f}"
        x, y = next_x, middle + half
        if i < len(points):
            path += f" V{y:.0f}"
    return f'<path class="arrow" d="{path}"/>'


STYLE = """
text { font: 13px Helvetica, Arial, sans-serif }
.title { font-size: 17px; font-weight: bold; text-anchor: middle; fill: #222 }
.room { fill: #fff; text-anchor: middle }
.note { fill: #444; font-size: 12px; white-space: pre }
.panel { fill: #f6f5f1; stroke: #d5d2c8 }
.arrow { fill: none; stroke: #8c8a82; stroke-width: 1.3; marker-end: url(#head) }
"""
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#8c8a82"/></marker>'
)


def picture() -> str:
    """The SVG, the same for the same imports."""
    graph = folder_graph(all_imports())
    n_rows = max(len(text.strip().splitlines()) for text in FLOORS.values())
    n_notes = 1 + max(len(borrowed(package, graph)) for package in FLOORS)
    bottom = MARGIN_PX + TITLE_PX + n_rows * ROW_PX
    height = bottom + n_notes * LINE_PX + MARGIN_PX
    left = float(MARGIN_PX)
    panels = []
    for package in FLOORS:
        drawn, width = panel(package, graph, left, bottom)
        panels.append(drawn)
        left += width + MARGIN_PX
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left:.0f} {height}">\n'
        f"<style>{STYLE}</style>\n<defs>{HEAD}</defs>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


if __name__ == "__main__":
    file = Path(sys.argv[1]) if sys.argv[1:] else PICTURE
    file.write_text(picture(), encoding="utf-8")
