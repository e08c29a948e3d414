"""Frames that are drawn over each other in a terminal, a few a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

REFRESH_S = 0.125  # drawing costs more CPU than the model does: eight frames a second will do
NOTE_S = 30.0  # that what was said stays below the view
_MAX_NOTES = 3  # at once
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # a terminal that knows them shows no half frame


class Frames:
    """Draws what `render` returns, all over the terminal's alternate screen: whatever stood there,
    a size that changed or a key that was echoed, is gone with the next frame."""

    def __init__(self, console: Console, render: Callable[[], RenderableType]) -> None:
        """render: is to have `height` rows."""
        self._console, self._render = console, render
        self._drawn_at_s = float("-inf")
        self._notes: list[Text] = []
        self._fresh: deque[tuple[float, Text]] = deque(maxlen=_MAX_NOTES)
        self._live = Live(console=console, auto_refresh=False, screen=True)
        self._live.start()

    @property
    def height(self) -> int:
        """Rows for a frame: those of the terminal without what is said below it."""
        return max(1, self._console.height - len(self._fresh_notes()))

    def say(self, text: Text) -> None:
        """Shows a line below the view for a while, and again when the terminal is given back."""
        self._notes.append(text)
        line = text.copy()
        line.truncate(self._console.width)  # one row, whatever it says
        self._fresh.append((time.monotonic(), line))
        self.draw()

    def draw_if_due(self) -> None:
        """Draws a frame unless the last one is younger than REFRESH_S."""
        if time.monotonic() - self._drawn_at_s >= REFRESH_S:
            self.draw()

    def draw(self) -> None:
        """Draws a frame, unless the terminal was given back."""
        if not self._live.is_started:
            return
        self._drawn_at_s = time.monotonic()
        frame = Group(self._render(), *self._fresh_notes())
        self._send(_BEGIN)
        self._live.update(frame, refresh=True)
        self._send(_END)

    def close(self, lines: Iterable[Text] = ()) -> None:
        """Gives the terminal back as it was, and prints what was said and these lines there."""
        if not self._live.is_started:
            return
        self._live.stop()
        for line in (*self._notes, *lines):
            self._console.print(line, soft_wrap=True)

    def _fresh_notes(self) -> list[Text]:
        oldest_s = time.monotonic() - NOTE_S
        room = max(0, self._console.height - 8)
        return [text for said_at_s, text in self._fresh if said_at_s >= oldest_s][-room or 99 :]

    def _send(self, code: str) -> None:
        control = Control((ControlType.HOME,))
        control.segment = control.segment._replace(text=code)
        self._console.control(control)
