"""The recordings that a path stands for: a file, or all that are in a folder and below it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import soundfile

from edge_audio.errors import UsageError
from edge_audio.sources.kinds import MEDIA_SUFFIXES
from edge_audio.support.paths import for_soundfile

# RAW has no header: nobody knows its rate and format.
SUFFIXES = (
    {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
    | {".aif", ".mp2", ".mpga", ".oga", ".opus"}
    | MEDIA_SUFFIXES
)
_MAX_S = 1e9  # more is not known
_APPLE_DOUBLE = "._"  # how macOS names what it keeps of a file on foreign disks


def expand(paths: Iterable[Path], say: Callable[[str], object]) -> Iterator[Path]:
    """Files as they are; folders as the audio files in and below them, sorted. say: is told what
    was left out of a folder though its name is that of an audio file. Raises UsageError."""
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found, left_out = _in_folder(path)
        for text in left_out:
            say(text)
        if not found:
            raise UsageError(f"no audio files in {path}")
        yield from found


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """The files that may hold audio, and remarks on what else has such a name."""
    found: list[Path] = []
    left_out: list[str] = []
    n_of_macos = 0
    for path in sorted(_named_as_audio(folder, left_out)):
        if path.name.startswith(_APPLE_DOUBLE):
            n_of_macos += 1
        elif what := _what_it_is(path):
            left_out.append(f"{path} is {what}")
        else:
            found.append(path)
    if n_of_macos:
        kept = "what macOS keeps beside files"
        left_out.append(f"{n_of_macos} files in {folder} (._...) are {kept} and were left out")
    return found, left_out


def _named_as_audio(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """What has the name of an audio file, in the folder and below. left_out: gets the folders that
    nobody looked into."""

    def tell(error: OSError) -> None:
        reason = error.strerror or str(error)
        left_out.append(f"{error.filename} cannot be looked into and was left out: {reason}")

    for parent, folders, files in os.walk(folder, onerror=tell):
        for path in (Path(parent, name) for name in folders):
            if path.is_symlink():  # it may lead back, for ever
                left_out.append(f"{path} is a link to a folder and was left out: name it as well")
            elif _is_named_so(path):
                yield path
        yield from (path for name in files if _is_named_so(path := Path(parent, name)))


def _is_named_so(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _what_it_is(path: Path) -> str:
    """What it is if it is no file; "" also for what must not be looked at, so that it is reported
    when it is opened."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder, whatever its name says; what is in it is tagged"
    return "a pipe or device and was left out"


def duration_s(path: Path) -> float:
    """Length as the file states it; 0 for a file that does not or cannot be read, which shows
    later. Quick: it counts nothing."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return 0.0
        seconds = float(soundfile.info(for_soundfile(path)).duration)
    except Exception:  # of libsndfile, of the system, or whatever an absurd header leads to
        return 0.0
    return seconds if seconds < _MAX_S else 0.0
