"""Standard input, output and error as they are in the wild: closed, of ASCII alone, full."""

from __future__ import annotations

import codecs
import os
import sys
from typing import Any

from edge_audio.cli.console import remark

ESCAPES = "edge_audio.escapes"  # the name of what is done with characters that do not fit


def mend_standard_streams() -> None:
    """Makes closed streams empty ones, so that no file that is opened later gets their numbers and
    what was meant for people; and has characters that a stream cannot write escaped."""
    closed = [name for name, descriptor in _STREAMS.items() if not _serves(name, descriptor)]
    for name in closed:
        _open_nowhere(name, _STREAMS[name])
    codecs.register_error(ESCAPES, _escape)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a program around us has its own
            stream.reconfigure(errors=ESCAPES)
    if "stdout" in closed:
        remark("standard output is closed: results that go there are lost")


def stop_writing() -> None:
    """Nobody reads standard output any more (`| head`), or nothing more fits: nothing may be
    written at interpreter exit either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def _serves(name: str, descriptor: int) -> bool:
    """Whether it is open, and for what it is there for: a shell whose standard error is closed
    opens the script that calls us under its number, to read it."""
    try:
        os.fstat(descriptor)
        if sys.platform == "win32":
            return True
        import fcntl

        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return mode in (os.O_RDWR, os.O_RDONLY if name == "stdin" else os.O_WRONLY)


def _open_nowhere(name: str, descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    os.set_inheritable(descriptor, True)
    mode = "r" if name == "stdin" else "w"
    stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - to the end
    setattr(sys, name, stream)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """\\uXXXX, which JSON takes for the character; two of them beyond U+FFFF, as there."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    units: Any = text.encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end
