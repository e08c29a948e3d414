"""The recordings in a file, each as libsndfile can play it to its end: sizes and lengths in headers
are claims, and files are joined, cut and piped by people who never see their headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_audio.sources import mpeg
from edge_audio.sources.chunks import recordings
from edge_audio.sources.flac import flac_streams
from edge_audio.sources.kinds import MAX_HEAD_BYTES, kind_of
from edge_audio.sources.ogg import links
from edge_audio.sources.view import FileView

_LAYER_3 = 3


@dataclass(frozen=True)
class Piece:
    """open: what libsndfile is to read, the path itself where all that the file says is true.
    stated_frames: how many it claims, 0 if that is not known; None: whatever libsndfile says.
    is_cut: it was cut off, which its decoder may not see.
    """

    open: Callable[[], Any]
    stated_frames: int | None = None
    is_cut: bool = False


def kind_of_file(path: Path) -> str | None:
    """See `kind_of`. Raises OSError."""
    with path.open("rb") as file:
        return kind_of(file.read(MAX_HEAD_BYTES))


def pieces(path: Path, kind: str | None) -> list[Piece]:
    """All that a player plays, in order: at least one, which may be no audio. kind: of the file.
    Raises OSError."""
    makers = {"an OGG file": _of_ogg, "a FLAC file": _of_flac, "an MP3 file": _of_mp3}
    return list(makers.get(kind or "", _of_samples)(path)) or [Piece(lambda: path)]


def _of_samples(path: Path) -> Iterator[Piece]:
    found = list(recordings(path))
    is_plain = len(found) == 1 and not (found[0].patches or found[0].missing_bytes)
    for one in [] if is_plain else found:
        view = partial(FileView, path, one.start, one.end, patches=one.patches)
        yield Piece(view, 0, one.missing_bytes > 0)


def _of_flac(path: Path) -> Iterator[Piece]:
    for one in flac_streams(path):
        view = partial(FileView, path, one.start, one.end, patches=one.patches)
        yield Piece(view, one.stated_frames)


def _of_ogg(path: Path) -> Iterator[Piece]:
    """Ogg states no length: what libsndfile says of it is what it found."""
    found = links(path)
    if len(found.parts) == 1 and found.parts[0][0] == 0:
        yield Piece(lambda: path, 0, found.is_cut)
        return
    for start, end in found.parts:
        is_last = end == found.parts[-1][1]
        yield Piece(partial(FileView, path, start, end), 0, found.is_cut and is_last)


def _of_mp3(path: Path) -> Iterator[Piece]:
    if _holds_flac(path):  # behind a tag
        yield from _of_flac(path)
    elif not mpeg.states_its_length(path):
        for run in mpeg.runs(path):
            is_known = run.form[2] == _LAYER_3
            yield Piece(partial(run.view, path), 0 if is_known else None, run.is_cut)


def _holds_flac(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(mpeg.id3_bytes(file.read(mpeg.N_ID3_BYTES)))
        return file.read(4) == b"fLaC"
