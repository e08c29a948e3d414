"""Paths as people write them in settings, and as a library takes them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


def for_soundfile(path: Path) -> Path | bytes:
    """What soundfile opens: of a name that is not UTF-8 it takes the bytes alone."""
    return path if os.name == "nt" else os.fsencode(path)


def expanded(path: str) -> str:
    """The path with the home folder in place of a ~ at its beginning, and the values of variables
    in place of $NAME and ${NAME}, as a shell would have it. What exists as it is written is meant
    as it is written. Raises ValueError for a path that cannot be, or a variable that is not set."""
    if not path.strip():
        raise ValueError("must not be empty")
    if "\0" in path:
        raise ValueError("must have no NUL in it: no file can")
    if not {"~", "$"} & set(path) or os.path.lexists(path):
        return path
    path = _VARIABLE.sub(_value, path)
    if not path.startswith("~"):
        return path
    at_home = os.path.expanduser(path)
    if at_home == path:
        raise ValueError(f"{path!r}: nobody knows that home folder, so write the whole path")
    return at_home


def expand_fields(spec: msgspec.Struct, *names: str) -> None:
    """Expands these fields of settings in place, where they are set; to be called while the
    settings are made. Raises ValueError with the name of the field."""
    for name in names:
        path = getattr(spec, name)
        if path is None:
            continue
        try:
            msgspec.structs.force_setattr(spec, name, expanded(path))
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None


def _value(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    if not (value := os.environ.get(name)):
        raise ValueError(f"has ${name} in it, and the variable {name} is not set")
    return value
