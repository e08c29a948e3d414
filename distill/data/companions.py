"""Which labels may be right where a clip sounds, though its list does not name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill.data.clip_list import Clip
from edge_audio.labels.ontology import related_labels

Companions = Mapping[str, frozenset[str]]
"""label -> labels whose sounds may contain it, itself included."""


def find_companions(clips: Sequence[Clip], labels: Sequence[str]) -> Companions:
    """The companions of each label: labels that stand beside it in any clip (Howl beside Dog), and
    its related labels in the ontology (Bark). Where one of them sounds, it may be right to report
    the label."""
    beside: dict[str, set[str]] = {label: {label} for label in labels}
    for clip in clips:
        for label in clip.labels:
            if label in beside:
                beside[label].update(clip.labels)
    return {label: frozenset(others | related_labels(label)) for label, others in beside.items()}
