"""Pictures that are written as a whole or not at all."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.support.files import errors_for_people, file_draft

FORMATS = ("png", "svg", "pdf", "jpg", "jpeg", "webp", "tif", "tiff", "eps", "ps", "svgz")


def require_matplotlib() -> None:
    """Raises EdgeAudioError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise EdgeAudioError("--plot needs matplotlib: pip install 'edge-audio[plot]'")


def require_picture(path: Path) -> None:
    """To be asked before long work whose result will be drawn. Raises as `require_matplotlib` and
    `picture_format` do."""
    picture_format(path)
    require_matplotlib()


def picture_format(path: Path) -> str:
    """By the suffix of its name, "png" where it has none. Raises UsageError for a suffix that is no
    format of pictures."""
    kind = path.suffix.removeprefix(".").lower() or "png"
    if kind not in FORMATS:
        raise UsageError(f"{path} has no suffix of a picture: name it .png, .svg or .pdf")
    return kind


def write_picture(figure: Any, path: Path, **options: Any) -> None:
    """Draws a matplotlib figure into a file, whose suffix says in which format. options: of
    `Figure.savefig`. Raises UsageError for an unknown suffix, EdgeAudioError where the file cannot
    be written."""
    kind = picture_format(path)
    with errors_for_people(path), file_draft(path) as draft:
        figure.savefig(draft, format=kind, **options)
