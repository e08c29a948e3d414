"""Which labels of an engine image may name one sound, and which of them it reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from edge_audio.engine.rows import padded
from edge_audio.events.policy import FOLD_S, RELATED, Related
from edge_audio.labels.family import Family

_EPSILON_S = 1e-6  # as in edge_audio.events.policy


def relations(
    labels: Sequence[str], parents: Mapping[str, str], related: Related, step_s: float
) -> bytes:
    """labels: of the image, in their order. parents: labels that were taught -> the label that each
    is a kind of. related: what is reported of labels that may name one sound; with "all" the lists
    are left out, since nothing would read them."""
    family = Family(parents)
    index = {label: i for i, label in enumerate(labels)}
    lists = _kinds(index, family) if related != "all" else []
    pairs = _synonyms(index, family) if related != "all" else []
    flat = [number for entry in (*lists, *pairs) for number in entry]
    fold_steps = math.ceil((FOLD_S - _EPSILON_S) / step_s)
    words = (RELATED.index(related), min(fold_steps, 254), len(lists), len(flat))
    return np.array(words, "<u4").tobytes() + padded(np.array(flat, "<u2").tobytes())


def _kinds(index: Mapping[str, int], family: Family) -> list[list[int]]:
    """For each label that others of them are a kind of: itself, how many, and which."""
    kinds: dict[int, list[int]] = {}
    for label, i in index.items():
        for ancestor in family.ancestors(label) & index.keys():
            kinds.setdefault(index[ancestor], []).append(i)
    return [[ancestor, len(found), *found] for ancestor, found in sorted(kinds.items())]


def _synonyms(index: Mapping[str, int], family: Family) -> list[tuple[int, int]]:
    return sorted(
        (i, index[other])
        for label, i in index.items()
        for other in family.synonyms(label) & index.keys()
        if i < index[other]
    )
