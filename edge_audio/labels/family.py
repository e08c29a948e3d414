"""The ontology, with labels that a user taught beneath those that they are a kind of."""

from __future__ import annotations

from collections.abc import Mapping

from edge_audio.labels.ontology import ancestor_labels, related_labels, synonymous_labels


class Family:
    """parents: a label that was taught -> the label of the ontology that it is a kind of."""

    def __init__(self, parents: Mapping[str, str]) -> None:
        self._parents = parents

    def ancestors(self, label: str) -> frozenset[str]:
        """What it is a kind of, at any distance."""
        parent = self._parents.get(label)
        return ancestor_labels(label) if parent is None else ancestor_labels(parent) | {parent}

    def related(self, label: str) -> frozenset[str]:
        """Ancestors, and what is a kind of it, at any distance."""
        if label in self._parents:
            return self.ancestors(label)
        taught = {name for name in self._parents if label in self.ancestors(name)}
        return related_labels(label) | taught

    def synonyms(self, label: str) -> frozenset[str]:
        """Other labels for nearly the same sound."""
        return frozenset() if label in self._parents else synonymous_labels(label)
