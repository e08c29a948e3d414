"""Labels as users write them: in files, and in any case."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from edge_audio.errors import UsageError


def read_labels(path: Path) -> list[str]:
    """One label a line; empty lines and those that start with # are passed over. Raises
    UsageError if the file cannot be read or names none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read labels from {path}: {error}") from error
    labels = [line.strip() for line in lines]
    kept = [label for label in labels if label and not label.startswith("#")]
    if not kept:
        raise UsageError(f"{path} names no label: write one a line, as `edge-audio inspect` does")
    return kept


def refuse_label(name: str, labels: Sequence[str], hint: str = "") -> None:
    """Raises UsageError if a sound of one's own has the name of a label of the model. hint: what
    else would help."""
    name = name.strip()
    if name.casefold() in {label.casefold() for label in labels}:
        raise UsageError(
            f"{name!r} is a label of the model: choose another name, such as 'My {name.lower()}'"
            f"{hint}"
        )


def find_label(name: str, labels: Sequence[str]) -> str:
    """The label that is meant, regardless of case. Raises UsageError, with those that are
    similar, if there is none."""
    by_folded = {label.casefold(): label for label in labels}
    if name in labels:
        return name
    if name.casefold() in by_folded:
        return by_folded[name.casefold()]
    close = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(by_folded[folded]) for folded in close)}?"
    raise UsageError(f"unknown label {name!r}: {hint if close else 'see edge-audio inspect'}")
