"""Small libraries that the machine's own compiler builds once, kept in the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_audio.errors import BackendError

C_COMPILERS = ("cc", "gcc", "clang")
CPP_COMPILERS = ("c++", "g++", "clang++")


def fingerprint(*parts: str) -> str:
    """A hash of everything that a library depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def find_compiler(compilers: Sequence[str]) -> str | None:
    """The user's own, $CC (for C++ $CXX), else the first of these that is installed."""
    wished = os.environ.get("CXX" if compilers is CPP_COMPILERS else "CC")
    return wished or next(filter(shutil.which, compilers), None)


def cached_library(name: str, compilers: Sequence[str], arguments: list[str], what: str) -> Path:
    """The library `name` in the cache, compiled with these arguments unless it is there.

    Raises BackendError if there is no compiler, if it fails, or if the cache cannot be written.
    """
    path = _cache_dir() / name
    if path.exists():
        return path
    compiler = find_compiler(compilers)
    if compiler is None:
        is_cpp = compilers is CPP_COMPILERS
        package = "g++" if is_cpp else "gcc"
        raise BackendError(
            f"{what} needs a {'C++' if is_cpp else 'C'} compiler, once: sudo apt-get install "
            f"{package}, or use --backend litert"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            output = Path(folder) / path.name
            _compile([compiler, *arguments, "-o", str(output)], what)
            output.replace(path)  # at once, so that no other process loads half a library
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


def _cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edge-audio"


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
