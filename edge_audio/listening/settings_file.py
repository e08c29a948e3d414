"""A file of settings, and on which of its lines something is wrong."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import msgspec

from edge_audio.bundle.spec import SENSITIVITIES
from edge_audio.errors import UsageError
from edge_audio.events.policy import Related
from edge_audio.listening.config import Config, Format
from edge_audio.support.plain_files import open_plain, reason_of

MAX_CONFIG_BYTES = 1 << 20
_WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, ValueError)
Keys = tuple[str | int, ...]  # ("source", 0, "url")
_CHOICES: Mapping[Keys, Sequence[str]] = {
    ("format",): get_args(Format),
    ("events", "related"): get_args(Related),
    ("events", "sensitivity"): SENSITIVITIES,
}

_KEY = r"[\w-]+|\"[^\"]*\"|'[^']*'"
_LIST = re.compile(r"\s*\[\[\s*(.+?)\s*\]\]")
_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_PAIR = re.compile(rf"\s*((?:{_KEY})(?:\s*\.\s*(?:{_KEY}))*)\s*=")
_INLINE = re.compile(rf"[{{,]\s*({_KEY})\s*=")


@dataclass(frozen=True)
class SettingsFile:
    """A file of settings that may be read again. with_flags: puts what was given on the command
    line in the place of what the file says."""

    path: Path
    with_flags: Callable[[Config], Config] = lambda config: config

    def read(self) -> Config:
        """Raises UsageError."""
        return self.with_flags(load_config(self.path))

    def read_again(self) -> Config:
        """Raises UsageError, also for a pipe, which has been read, and for a file without a word:
        an editor or a full disk may leave one, and nobody means it to end all destinations."""
        raw = self.read_raw()
        if not raw.strip():
            raise UsageError(f"{self.path} is empty")
        return self.with_flags(self.decoded(raw))

    def read_raw(self) -> bytes:
        """What the file says now. Raises UsageError, also for a pipe, which has been read."""
        try:
            with open_plain(self.path) as file:
                return _content(file, self.path)
        except OSError as error:
            raise UsageError(f"cannot read {self.path} again: {reason_of(error)}") from error

    def decoded(self, raw: bytes) -> Config:
        """Settings as this file might say them, without flags. Raises UsageError."""
        return _decoded(raw, self.path)

    def located(self, text: str, section: str = "") -> str:
        """A message on something that the settings name, with the file and, where the message
        quotes what is written there, the line. section: that it is about, if that is known."""
        with suppress(OSError, UsageError, *_WRONG):  # a pipe has been read, and shows no line
            with open_plain(self.path) as file:
                source = _text(_content(file, self.path))
            keys = _keys_of_value(msgspec.toml.decode(source), text, section)
            if line := _line_of(source, keys or ((section,) if section else ())):
                return f"{self.path}:{line}: {text}"
        return f"{self.path}: {text}"


def load_config(path: Path) -> Config:
    """Reads a TOML file, or a pipe. Raises UsageError with the line, section and field that is
    wrong."""
    try:
        with path.open("rb") as file:
            return _decoded(_content(file, path), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason_of(error)}") from error
    except ValueError as error:  # a NUL in its name
        raise UsageError(f"cannot read {str(path)!r}: {error}") from error


def _content(file: BinaryIO, path: Path) -> bytes:
    raw = file.read(MAX_CONFIG_BYTES + 1)
    if len(raw) > MAX_CONFIG_BYTES:
        raise UsageError(f"{path} is larger than 1 MiB: that is no file of settings")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{path} is UTF-16: save it as UTF-8")
    return raw


def _text(raw: bytes) -> str:
    """Editors of Windows begin files with a byte-order mark. Raises UnicodeDecodeError."""
    return raw.removeprefix(codecs.BOM_UTF8).decode()


def _decoded(raw: bytes, path: Path) -> Config:
    source = ""
    try:
        source = _text(raw)
        found = msgspec.toml.decode(source)
        _fold_case(found)
        return msgspec.convert(found, Config, str_keys=True)
    except _WRONG as error:
        line, text = _explained(error, raw, source)
        place = f"{path}:{line}" if line else f"{path}"
        raise UsageError(f"{place}: {text}; docs/config.md has all settings") from error


def _fold_case(found: Any) -> None:
    """Makes words of which there are few lower case, where they are what they should be."""
    for keys, words in _CHOICES.items():
        table = found
        for key in keys[:-1]:
            table = table.get(key) if isinstance(table, dict) else None
        value = table.get(keys[-1]) if isinstance(table, dict) else None
        if isinstance(table, dict) and isinstance(value, str) and value.lower() in words:
            table[keys[-1]] = value.lower()


def _explained(error: Exception, raw: bytes, source: str) -> tuple[int | None, str]:
    """(line, message) of what decoding raised."""
    text = str(error)
    if isinstance(error, UnicodeDecodeError):
        return raw[: error.start].count(b"\n") + 1, "this is no UTF-8 text"
    if match := re.search(r" \(at line (\d+), column \d+\)$", text):
        return int(match[1]), text[: match.start()]
    if text.endswith(" (at end of document)"):
        return source.count("\n") + 1, text
    message, _, place = text.partition(" - at `")
    keys = _keys_of_path(place.rstrip("`"))
    if message.startswith("Invalid enum value") and keys in _CHOICES:
        text = f"{text}: it is one of {', '.join(_CHOICES[keys])}"
    if match := re.search(r"unknown field `([^`]*)`", message):
        return _line_of(source, (*keys, match[1])), text
    return _line_of(source, _field_named(source, keys, message)), text


def _keys_of_path(place: str) -> Keys:
    """`$.source[0].url` -> ("source", 0, "url")."""
    found = re.findall(r"\.([\w-]+)|\[(\d+)\]", place)
    return tuple(name if name else int(index) for name, index in found)


def _field_named(source: str, keys: Keys, message: str) -> Keys:
    """The field of a section that a message names, else the section."""
    words = re.findall(r"\w+", message)
    inside = (place for place in _places(source) if place[:-1] == keys)
    return next((place for place in inside if place[-1] in words), keys)


def _keys_of_value(found: Any, message: str, section: str) -> Keys:
    """Where the longest text stands that a message quotes, as a whole or, such as the host of an
    address, in part; () if none does."""
    texts = [each for each in _texts(found) if not section or each[0][:1] == (section,)]
    whole = [(len(text), keys) for keys, text in texts if _quotes(message, text)]
    if whole:
        return max(whole, key=lambda each: each[0])[1]
    parts = re.findall(r"'([^']{3,})'", message)
    return next((keys for keys, text in texts if any(part in text for part in parts)), ())


def _quotes(message: str, text: str) -> bool:
    is_telling = len(text) > 2
    pattern = rf"(?<!\w){re.escape(text)}(?!\w)"
    return is_telling and re.search(pattern, message, re.IGNORECASE) is not None


def _texts(found: Any, keys: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """All values that are text, and all keys, which may be labels."""
    if isinstance(found, str):
        yield keys, found
    elif isinstance(found, Mapping):
        for key, value in found.items():
            yield (*keys, key), key
            yield from _texts(value, (*keys, key))
    elif isinstance(found, Sequence):
        for i, value in enumerate(found):
            yield from _texts(value, (*keys, i))


def _line_of(source: str, keys: Keys) -> int | None:
    """The line of a field, or of what it is in; None for the whole file."""
    places = _places(source)
    whole = (places.get(keys[:n]) for n in range(len(keys), 0, -1))
    return next((line for line in whole if line), None)


def _places(source: str) -> dict[Keys, int]:
    """Field -> the line that it begins on, in the order of the file. Good enough for messages: what
    looks like a field within a text of several lines is taken for one."""
    found: dict[Keys, int] = {}
    table: Keys = ()
    counts: dict[Keys, int] = {}
    for n, line in enumerate(source.split("\n"), start=1):
        if match := _LIST.match(line):
            name = _keys(match[1])
            table = (*name, counts.get(name, 0))
            counts[name] = counts.get(name, 0) + 1
            found.setdefault(name, n)
            found.setdefault(table, n)
        elif match := _TABLE.match(line):
            table = _keys(match[1])
            found.setdefault(table, n)
        elif match := _PAIR.match(line):
            key = (*table, *_keys(match[1]))
            found.setdefault(key, n)
            for inner in _INLINE.findall(line):
                found.setdefault((*key, *_keys(inner)), n)
    return found


def _keys(text: str) -> Keys:
    return tuple(a or b or c for a, b, c in re.findall(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)", text))
