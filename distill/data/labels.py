"""The names of the 527 AudioSet classes, in the order of every model's scores."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_audio.errors import UsageError
from edge_audio.support.folders import PEERS_ENV, peers_dir

LABELS_NAME = "audioset_labels.csv"
"""Columns index, mid, display_name. The ontology is CC BY 4.0 (Google)."""

BROADER = {
    "Mouse click": "Clicking",
    "Refrigerator hum": "Hum",
    "Shower": "Water",
}
"""Labels of clip lists that AudioSet lacks -> its class that they are a kind of. Others, such as
Washing machine or Page turn, have none but groups like Domestic sounds, which are no labels: they
stay as they are, and no target is made of them (`edge-audio dataset check` names them)."""


def known_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels by AudioSet's names where it has one (see BROADER), each once."""
    return tuple(dict.fromkeys(BROADER.get(label, label) for label in labels))


def audioset_labels() -> tuple[str, ...]:
    """The 527 display names. Raises UsageError if the peers folder lacks the list."""
    return read_class_map(peers_dir() / LABELS_NAME)


def audioset_names() -> dict[str, str]:
    """Machine id (such as /m/09x0r) -> display name. Raises UsageError as `audioset_labels`."""
    path = peers_dir() / LABELS_NAME
    return dict(zip(_column(path, "mid"), read_class_map(path), strict=True))


def read_class_map(path: Path) -> tuple[str, ...]:
    """Display names of a class map (index, mid, display_name), ordered by index.

    Raises UsageError if it is missing, malformed, or skips an index.
    """
    return _column(path, "display_name")


def _column(path: Path, name: str) -> tuple[str, ...]:
    """Ordered by index. Raises UsageError as `read_class_map`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = {int(row["index"]): row[name] for row in csv.DictReader(file)}
    except FileNotFoundError as error:
        source = "AudioSet's class_labels_indices.csv by another name"
        about = f" ({source})" if path.name == LABELS_NAME else ""
        raise UsageError(
            f"{path} is missing: set {PEERS_ENV} to the folder that holds it{about}"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no class map: {error}") from error
    if sorted(found) != list(range(len(found))):
        raise UsageError(f"{path} skips a class index: fetch it again")
    return tuple(found[index] for index in range(len(found)))


def shared_labels(lists: Sequence[Sequence[str]]) -> list[str]:
    """Labels that all lists hold, in the order of the first. UsageError if there are none."""
    known = set.intersection(*map(set, lists))
    if not known:
        raise UsageError("no label is known to all models: nothing can be compared")
    return [label for label in lists[0] if label in known]


def label_columns(
    theirs: Sequence[str], ours: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns of the labels that both lists hold, in their list and in ours, ordered as ours.

    Raises UsageError if there is none: such a teacher has nothing to say about our labels.
    """
    column = {name: index for index, name in enumerate(theirs)}
    shared = [index for index, name in enumerate(ours) if name in column]
    if not shared:
        raise UsageError(f"no label in common with {list(theirs[:5])}...: they must be AudioSet's")
    return np.array([column[ours[index]] for index in shared]), np.array(shared)
