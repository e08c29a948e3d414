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
    return None if file is None else _checked(_lines(Path(file))[0], file)


def read_secrets(env: str | None = None, file: str | None = None) -> list[Secret]:
    """The same with a secret on each line; empty lines and those that begin with # are passed
    over. Raises UsageError if there is none."""
    lines = os.environ.get(env or "", "").splitlines() if file is None else _lines(Path(file))
    found = [line.strip() for line in lines]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        _checked("", f"the environment variable {env}" if file is None else file)
    return [Secret(line) for line in found]


def _lines(path: Path) -> list[str]:
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
    return [line.rstrip("\r") for line in text.split("\n")]


def _checked(text: str, origin: str) -> Secret:
    if not text:
        raise UsageError(f"there is no secret in {origin}: put one there")
    return Secret(text)
