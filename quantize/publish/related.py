"""Which labels of a model may name one sound, for apps that have no ontology of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from edge_audio.labels.ontology import ancestor_labels, synonymous_labels

RELATED_NAME = "related_labels.json"


class RelatedLabels(msgspec.Struct, frozen=True):
    """related_labels.json of a bundle; both name none but the bundle's labels, and leave out those
    that have none.

    ancestors: a label -> what it is a kind of, at any distance. synonyms: a label -> others for
    nearly the same sound.
    """

    ancestors: dict[str, list[str]]
    synonyms: dict[str, list[str]]

    def to_bytes(self) -> bytes:
        """Indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def related_labels(labels: Sequence[str]) -> RelatedLabels:
    """What a report policy has to know of these labels."""
    return RelatedLabels(_among(labels, ancestor_labels), _among(labels, synonymous_labels))


def _among(labels: Sequence[str], others: Callable[[str], Iterable[str]]) -> dict[str, list[str]]:
    found = {label: sorted(set(others(label)) & set(labels)) for label in labels}
    return {label: names for label, names in found.items() if names}
