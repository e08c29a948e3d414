"""Native libraries that announce themselves on standard error."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_STDERR = 2
_PREFIX = b"INFO: "
_lock = threading.Lock()  # there is one standard error for all threads


@contextmanager
def without_info_lines() -> Iterator[None]:
    """Drops the lines "INFO: ..." that native code writes to standard error meanwhile, for which
    LiteRT has no setting. Whatever else is written follows at the end."""
    with _lock, ExitStack() as stack:
        try:
            native = os.dup(_STDERR)
            stack.callback(os.close, native)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # it is closed, or there is no room to hold lines: they pass
            yield
            return
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(native, _STDERR)
            held.seek(0)
            if rest := b"".join(line for line in held if not line.startswith(_PREFIX)):
                os.write(_STDERR, rest)
