"""Text as people read it. Names of files, labels, streams and errors of others go through here
before they reach a terminal, a table or a label track."""

from __future__ import annotations

import json
import re

MAX_NAME_CHARS = 200  # of labels, tensors, streams

# What ends a line or commands a terminal, and halves of characters, which cannot be printed.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_REORDERS = "\u202a-\u202e\u2066-\u2069"  # makes text look like another
_UNPRINTABLE = re.compile(f"{CONTROL.pattern[:-1]}{_REORDERS}]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """The text on one line, harmless to terminals, CSV and label tracks: what ends a line,
    commands a terminal, turns the direction of writing or cannot be encoded becomes an escape,
    such as \\n or \\x1b."""
    return _UNPRINTABLE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """`printable` of each line of a text that has several."""
    return "\n".join(map(printable, text.split("\n")))


def encodable(text: str) -> str:
    """The text with escapes for what UTF-8 cannot hold: names of files may have any bytes."""
    return _SURROGATE.sub(_escape, text)


def json_line(value: object) -> str:
    """JSON on one line, with escapes for what `printable` escapes: it may go to a terminal, and
    who decodes it has the text as it was."""
    return json_text(json.dumps(value, ensure_ascii=False))


def json_text(text: str) -> str:
    """JSON, on one line or several, with the escapes of `json_line`."""
    return "\n".join(
        _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n")
    )


def one_line(text: str, max_chars: int) -> str:
    """The text without line breaks and whatever else does not print, cut after max_chars."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= max_chars else f"{text[: max_chars - 3]}..."


def check_name(name: str, what: str) -> None:
    """Raises ValueError unless `name` can be shown on one line of a terminal."""
    if not name.strip() or len(name) > MAX_NAME_CHARS or CONTROL.search(name):
        limits = f"1 to {MAX_NAME_CHARS} characters without line breaks or control codes"
        raise ValueError(f"{what} {one_line(name, 40)!r} must have {limits}")


def clock(time_s: float) -> str:
    """Audio time as m:ss.ss, or h:mm:ss.ss from an hour on."""
    minutes, centiseconds = divmod(round(time_s * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{centiseconds / 100:05.2f}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
