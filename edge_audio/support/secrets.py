"""Passwords and tokens: read from the environment or a file, never written in settings."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

from edge_audio.errors import UsageError
from edge_audio.support.plain_files import open_plain, reason_of

MAX_SECRET_BYTES = 1 << 16


class Secret:
    """Text that shows itself only when asked to."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"


def read_secret(env: str | None = None, file: str | None = None) -> Secret | None:
    """What the environment variable `env` or the first line of `file` holds; None if neither is
    given. Warns of a file that everybody can read. Raises UsageError if there is no secret."""
    if env is not None and file is not None:
        raise UsageError("name an environment variable or a file for a secret, not both")
    if env is not None:
        return _checked(os.environ.get(env, ""), f"the environment variable {env}")
    return None if file is None else _checked(_first_line(Path(file)), file)


def _first_line(path: Path) -> str:
    try:
        with open_plain(path) as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(MAX_SECRET_BYTES).decode()
    except OSError as error:
        raise UsageError(f"cannot read the secret in {path}: {reason_of(error)}") from error
    except UnicodeDecodeError:
        raise UsageError(f"the secret in {path} is no UTF-8 text") from None
    if mode & stat.S_IROTH:
        warnings.warn(f"everybody can read {path}: chmod 600 {path}", stacklevel=3)
    return text.partition("\n")[0].rstrip("\r")


def _checked(text: str, origin: str) -> Secret:
    if not text:
        raise UsageError(f"there is no secret in {origin}: put one there")
    return Secret(text)
