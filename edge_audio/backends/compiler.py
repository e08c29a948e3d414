"""Small libraries that the machine's own compiler builds once, kept in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge_audio.errors import BackendError
from edge_audio.support.files import file_draft
from edge_audio.support.folders import cache_dir


@dataclass(frozen=True)
class Language:
    """variable: of the environment, that names a user's compiler. compilers: looked for where it
    is not set. package: that brings one on Debian."""

    name: str
    variable: str
    compilers: tuple[str, ...]
    package: str


C = Language("C", "CC", ("cc", "gcc", "clang"), "gcc")
CPP = Language("C++", "CXX", ("c++", "g++", "clang++"), "g++")


def fingerprint(*parts: str) -> str:
    """A hash of everything that a library depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def find_compiler(language: Language) -> list[str] | None:
    """The user's own command, such as CC="ccache gcc", else the first compiler that is installed;
    None if none is."""
    wished = _words(os.environ.get(language.variable, ""))
    installed = [name for name in language.compilers if shutil.which(name)]
    return wished or installed[:1] or None


def _words(command: str) -> list[str]:
    """As a shell splits them; backslashes stay on Windows, where they are in paths."""
    try:
        return shlex.split(command, posix=os.name != "nt")
    except ValueError:  # a quotation mark without a second: a program that is not found
        return [command]


def cached_library(name: str, language: Language, arguments: list[str], what: str) -> Path:
    """The library `name` in the cache, compiled with these arguments unless it is there.

    Raises BackendError if there is no compiler, if it fails, or if the cache cannot be written.
    """
    path = cache_dir() / name
    if path.exists():
        return path
    compiler = find_compiler(language)
    if compiler is None:
        raise BackendError(
            f"{what} needs a {language.name} compiler, once: sudo apt-get install "
            f"{language.package}, or use --backend litert"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_draft(path) as draft:  # so that no other process loads half a library
            _compile([*compiler, *arguments, "-o", str(draft)], what)
    except OSError as error:
        raise BackendError(
            f"cannot keep {what} as compiled in {path.parent}: {error.strerror}; set "
            "XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return path


def load_library(path: Path, cure: str) -> ctypes.CDLL:
    """Loads a library of the cache. Raises BackendError if that fails; its message proposes to
    delete the file, or `cure`."""
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BackendError(f"cannot load {path}: {error}; delete it, or {cure}") from error


def _compile(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        failure = _first_error(done.stderr) if done.returncode else ""
    except OSError as error:
        failure = str(error.strerror)
    if failure:
        raise BackendError(f"{command[0]} cannot compile {what}: {failure}")


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line.lower()]
    return (lines or text.splitlines() or ["no message"])[0]
