"""Frames that are drawn over each other in a terminal, a few a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live

REFRESH_S = 0.125  # drawing costs more CPU than the model does: eight frames a second will do


class Frames:
    """Draws what `render` returns, in place of the frame before."""

    def __init__(self, console: Console, render: Callable[[], RenderableType]) -> None:
        self._render = render
        self._drawn_at_s = float("-inf")
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def draw_if_due(self) -> None:
        """Draws a frame unless the last one is younger than REFRESH_S."""
        if time.monotonic() - self._drawn_at_s >= REFRESH_S:
            self.draw()

    def draw(self) -> None:
        self._drawn_at_s = time.monotonic()
        self._live.update(self._render(), refresh=True)

    def close(self) -> None:
        """Draws a last frame, which stays, and gives the terminal back."""
        try:
            self.draw()
        finally:
            self._live.stop()
