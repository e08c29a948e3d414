"""Curves in a terminal, from the dots of braille characters: 2 x 4 in each cell."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of columns, from the top
_BLANK = 0x2800


class Braille:
    """A canvas of cells. Positions are fractions of its width and, from the ground, height; a
    cell has the style of what was drawn last."""

    def __init__(self, width: int, height: int) -> None:
        """width, height: in cells."""
        self._width, self._height = width, height
        self._cells = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]

    def level(self, y: float, style: str) -> None:
        """Draws a dotted line all across."""
        for x in range(0, 2 * self._width, 4):
            self._dot(x, self._y(y), style)

    def curve(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """Draws a line through points, sorted by x; what lies left of the canvas is left out."""
        columns = [min(2 * self._width - 1, int(x * 2 * self._width)) for x in xs]
        before: tuple[int, int] | None = None
        for x, y in zip(columns, map(self._y, ys), strict=True):
            if x >= 0:
                self._stroke(before or (x, y), (x, y), style)
                before = (x, y)

    def rows(self) -> list[Text]:
        """The rows of the canvas, from the top."""
        texts = []
        for cells, styles in zip(self._cells, self._styles, strict=True):
            text = Text(no_wrap=True)
            for cell, style in zip(cells, styles, strict=True):
                text.append(chr(_BLANK + cell), style)
            texts.append(text)
        return texts

    def _y(self, y: float) -> int:
        top = 4 * self._height - 1
        return top - round(min(1.0, max(0.0, y)) * top)

    def _stroke(self, start: tuple[int, int], end: tuple[int, int], style: str) -> None:
        (x0, y0), (x1, y1) = start, end
        n = max(abs(x1 - x0), abs(y1 - y0), 1)
        for i in range(n + 1):
            self._dot(round(x0 + (x1 - x0) * i / n), round(y0 + (y1 - y0) * i / n), style)

    def _dot(self, x: int, y: int, style: str) -> None:
        row, column = y // 4, x // 2
        self._cells[row][column] |= _BITS[x % 2][y % 4]
        self._styles[row][column] = style
