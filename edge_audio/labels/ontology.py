"""Which AudioSet labels are related: one is a kind of the other, as Bark is of Dog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_TREE = Path(__file__).with_name("audioset_tree.txt")


def related_labels(label: str) -> frozenset[str]:
    """Ancestors and descendants of a label, at any distance; none for labels of others.

    Categories that only group others, such as Human sounds, have no related labels and are none.
    """
    return _related().get(label, frozenset())


@lru_cache(maxsize=1024)
def descendant_labels(label: str) -> frozenset[str]:
    """All that is a kind of a label, at any distance; none for labels of others."""
    return frozenset(x for x in related_labels(label) if label in _ancestors(x, _parents()))


_SYNONYMS = (  # of AudioSet, beside each other in the ontology, and heard as the same
    {"Water tap, faucet", "Sink (filling or washing)"},
    {"Ringtone", "Telephone bell ringing"},
    {"Clapping", "Applause"},
    {"Toot", "Air horn, truck horn"},
    {"Waterfall", "Stream"},
    {"Tick", "Tick-tock"},
    {"White noise", "Pink noise", "Static"},
    {"Smoke detector, smoke alarm", "Fire alarm"},
    {"Pour", "Fill (with liquid)"},
    {"Cutlery, silverware", "Dishes, pots, and pans"},
    {"Chop", "Chopping (food)"},
    {"Shatter", "Breaking"},
    {"Whistle", "Whistling"},
)


@lru_cache(maxsize=1024)
def ancestor_labels(label: str) -> frozenset[str]:
    """What a label is a kind of, at any distance: Dog and Animal for Bark; none for labels of
    others."""
    if label not in _parents():
        return frozenset()
    return frozenset(x for x in _ancestors(label, _parents()) if not _is_group(x))


def synonymous_labels(label: str) -> frozenset[str]:
    """Other labels for nearly the same sound, which are neither ancestors nor descendants."""
    return frozenset().union(*(group for group in _SYNONYMS if label in group)) - {label}


@lru_cache(maxsize=1024)
def nearby_labels(label: str) -> frozenset[str]:
    """Related labels, and those that are a kind of the same label, as Growling is beside Bark;
    none for labels of others."""
    shared = [parent for parent in _parents().get(label, ()) if not _is_group(parent)]
    return related_labels(label).union(*(_children()[parent] for parent in shared)) - {label}


@lru_cache(maxsize=1)
def _parents() -> dict[str, set[str]]:
    parents: dict[str, set[str]] = defaultdict(set)
    for name, parent in _links():
        parents[name].add(parent)
    return dict(parents)


@lru_cache(maxsize=1)
def _children() -> dict[str, set[str]]:
    children: dict[str, set[str]] = defaultdict(set)
    for name, parents in _parents().items():
        for parent in parents:
            children[parent].add(name)
    return dict(children)


@lru_cache(maxsize=1)
def _related() -> dict[str, frozenset[str]]:
    parents = _parents()
    found: dict[str, set[str]] = defaultdict(set)
    for name in list(parents):
        for ancestor in _ancestors(name, parents):
            if not (_is_group(name) or _is_group(ancestor)):
                found[name].add(ancestor)
                found[ancestor].add(name)
    return {name: frozenset(related) for name, related in found.items()}


def _links() -> Iterator[tuple[str, str]]:
    """(name, its parent) of all lines below the top."""
    path: list[str] = []
    for line in _TREE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name = line.lstrip(" ")
        path = [*path[: len(line) - len(name)], name]
        if len(path) > 1:
            yield name, path[-2]


def _ancestors(name: str, parents: dict[str, set[str]]) -> set[str]:
    direct = parents.get(name, set())
    return direct.union(*(_ancestors(parent, parents) for parent in direct))


def _is_group(name: str) -> bool:
    return name.startswith("[")
