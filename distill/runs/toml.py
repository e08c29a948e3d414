"""Recipes in TOML: read, changed by settings, checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edge_audio.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RecipeT = TypeVar("RecipeT", bound=msgspec.Struct)


def read_toml(path: Path, kind: type[RecipeT], settings: Sequence[str] = ()) -> RecipeT:
    """`read_table` as a struct; UsageError, naming the field, if it does not fit `kind`."""
    return convert(path, read_table(path, settings), kind)


def convert(path: Path, table: dict[str, Any], kind: type[RecipeT]) -> RecipeT:
    """The table read from `path` as a struct; UsageError, naming the field, if it does not fit."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"recipe {path}: {error}") from error


def read_table(path: Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """A TOML file, changed by `settings` such as "student.delay_ms=80"; `extends = "other.toml"`
    takes over that file's fields. UsageError if a file is missing or is no TOML."""
    table = _read_file(path)
    for setting in settings:
        table = merge(table, _parse_setting(setting))
    return table


def _read_file(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.resolve() in extended_by:
        raise UsageError(f"recipe {path} extends itself: name another one behind `extends`")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UsageError(f"there is no recipe {path}: see distill/recipes") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path}: {error}") from error
    base: str | None = table.pop("extends", None)
    if base is None:
        return table
    files = (*extended_by, path.resolve())
    return merge(_read_file(path.parent / str(base), files), table)


def _parse_setting(setting: str) -> dict[str, Any]:
    try:
        return tomllib.loads(setting)
    except tomllib.TOMLDecodeError:
        pass
    name, separator, value = setting.partition("=")  # a bare word is a string
    if not separator:
        raise UsageError(f"setting {setting!r} is not of the form field.name=value")
    try:
        return tomllib.loads(f"{name} = {msgspec.json.encode(value.strip()).decode()}")
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"setting {setting!r} is not of the form field.name=value") from error


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, table by table; a table of another `kind` replaces the whole."""
    merged: dict[str, Any] = dict(base)
    for name, value in changes.items():
        old: Any = base.get(name)
        is_table = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = merge(old, value) if is_table and _same_kind(old, value) else value
    return merged


def _same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return "kind" not in new or new["kind"] == old.get("kind")
