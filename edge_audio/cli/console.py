"""Where commands print tables and remarks."""

from __future__ import annotations

from rich.console import Console


def plain_console(stderr: bool = False) -> Console:
    """A console that shows text as it is: names may look like rich's markup ([bold]) or emoji
    (:dog:), which must not be taken for them. It does not stop control codes, see
    `edge_audio.support.text.printable`."""
    return Console(stderr=stderr, soft_wrap=True, markup=False, emoji=False, highlight=False)
