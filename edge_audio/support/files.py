"""Files that are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

from edge_audio.errors import EdgeAudioError


def replace_file(path: Path, content: bytes) -> None:
    """So that whoever looks at the file sees the old one or the new one. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """The same, with an error for people. Raises EdgeAudioError."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise EdgeAudioError(f"cannot write {path}: {error.strerror}") from error
