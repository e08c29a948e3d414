"""Pictures that are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_audio.support.files import errors_for_people, file_draft


def write_picture(figure: Any, path: Path, **options: Any) -> None:
    """Draws a matplotlib figure into a file, whose suffix says in which format. options: of
    `Figure.savefig`. Raises EdgeAudioError where it cannot be written."""
    kind = path.suffix.removeprefix(".") or "png"
    with errors_for_people(path), file_draft(path) as draft:
        figure.savefig(draft, format=kind, **options)
