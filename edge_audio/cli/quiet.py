"""Keeps the chatter of native libraries off the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Discards what native code writes to standard error, while Python's sys.stderr stays.

    LiteRT announces its delegate on every start, ALSA complains about every device that is not
    there, PortAudio prints its failed assertions; none has a setting for it, and what matters
    comes back as an exception. `edge-audio --debug` lets everything through.
    """
    if "--debug" in sys.argv:
        yield
        return
    native, python = os.dup(2), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    with os.fdopen(native, "w", buffering=1, errors="backslashreplace", closefd=False) as stderr:
        sys.stderr = stderr
        try:
            yield
        finally:
            stderr.flush()
            sys.stderr = python
            os.dup2(native, 2)
            os.close(native)
